import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { Api, type CallAnswer } from '../helpers/api.ts'
import { Platform, PROJECT } from '../helpers/platform.ts'

const IMAGE = 'default/calls'
const SOON = { timeout: 20_000, interval: 100 }

let platform: Platform
let api: Api
beforeAll(async () => {
  platform = await Platform.start()
  api = new Api(platform)
  await platform.cli('build', join(PROJECT, 'test/fixtures/calls'), '--name', 'calls')
})
afterAll(() => platform?.stop())

const states = async (name: string): Promise<string[]> => (await api.instances(name)).map(({ state }) => state).sort()
const pidOf = ({ result }: CallAnswer): number => (result as { pid: number }).pid
const mostOf = ({ result }: CallAnswer): number => (result as { most: number }).most

describe('instances of a function', () => {
  it('are never more than maxInstances, whatever is asked, and every call has its turn', async () => {
    await api.deploy('capped', IMAGE, { maxInstances: 3, timeout: 10 })
    let most = 0
    const calls = Promise.all(Array.from({ length: 20 }, () => api.call('capped', { do: 'waits', ms: 100 })))
    const watch = (async () => {
      const ended = calls.then(() => true)
      while (!(await Promise.race([ended, sleep(30, false)])))
        most = Math.max(most, (await api.instances('capped')).length)
    })()
    const answers = await calls
    await watch
    expect(answers.map(({ statusCode }) => statusCode)).toEqual(answers.map(() => 200))
    expect(Math.max(...answers.map(mostOf))).toBe(1)
    expect(most).toBe(3)
  })

  it('end after keepAlive without a call, asked by SIGTERM', async () => {
    await api.deploy('brief', IMAGE, { keepAlive: 2 })
    await api.call('brief', {})
    expect(await states('brief')).toEqual(['ready'])
    await sleep(500)
    expect(await states('brief')).toEqual(['ready'])
    await expect.poll(() => states('brief'), SOON).toEqual([])
    await expect.poll(() => api.log('brief'), SOON).toContain('asked to end')
  })

  it('are kept created by prewarm; a call takes one without creating, and it is made good', async () => {
    await api.deploy('ahead', IMAGE, { prewarm: 2 })
    await expect.poll(() => states('ahead'), SOON).toEqual(['created', 'created'])
    const before = (await api.instances('ahead')).map(({ id }) => id)
    const { instances } = await platform.cli<{ instances: { id: string; state: string }[] }>(
      ...(['instances', 'list', 'ahead'] as const),
    )
    expect(instances.map(({ state }) => state)).toEqual(['created', 'created'])

    const answer = await api.call('ahead', {})
    expect(answer.statusCode).toBe(200)
    expect(answer.coldStart?.phases).not.toHaveProperty('create')
    expect(answer.coldStart?.phases).toMatchObject({ start: expect.any(Number), listen: expect.any(Number) })
    await expect.poll(() => states('ahead'), SOON).toEqual(['created', 'created', 'ready'])
    const started = (await api.instances('ahead')).find(({ state }) => state === 'ready')
    expect(before).toContain(started?.id)
  })

  it('of older revisions drain while newer ones take over: no call fails during five deploys', async () => {
    const colours = ['red', 'green', 'blue', 'white', 'black', 'brown']
    const deploy = (COLOUR: string) => api.deploy('changes', IMAGE, { env: { COLOUR }, timeout: 30, maxInstances: 8 })
    await deploy('red')
    let going = true
    const answers: CallAnswer[] = []
    const caller = async (): Promise<void> => {
      while (going) answers.push(await api.call('changes', { do: 'waits', ms: 20 }))
    }
    const callers = Promise.all(Array.from({ length: 6 }, caller))
    for (const colour of colours.slice(1)) {
      await sleep(600)
      await deploy(colour)
      // What is called from now on is the new revision.
      expect((await api.call('changes', {})).result).toMatchObject({ colour })
    }
    going = false
    await callers
    const failed = answers.filter(({ statusCode }) => statusCode !== 200)
    expect(failed).toEqual([])
    expect(answers.length).toBeGreaterThan(60)
    await expect.poll(async () => (await states('changes')).includes('draining'), SOON).toBe(false)
    const colourOf = async (): Promise<unknown> => ((await api.call('changes', {})).result as { colour: string }).colour
    expect(await Promise.all([1, 2, 3, 4].map(colourOf))).toEqual(['brown', 'brown', 'brown', 'brown'])
  })

  it('serve one call after the other', async () => {
    await api.deploy('same', IMAGE)
    const [first, second] = [pidOf(await api.call('same', {})), pidOf(await api.call('same', {}))]
    expect(second).toBe(first)
    expect((await api.instances('same')).map(({ calls }) => calls)).toEqual([2])
  })
})

describe('a web function', () => {
  const web = (name: string, path: string, init: RequestInit & { duplex?: 'half' } = {}) =>
    fetch(`${platform.url}/web/default/${name}${path}`, init)

  beforeAll(async () => {
    await api.deploy('web', IMAGE, { type: 'web', timeout: 30 })
    await (await web('web', '/')).arrayBuffer()
  })

  it('streams both ways: what the caller has sent comes back before it has sent the rest', async () => {
    let sendRest: (() => void) | undefined
    const rest = new Promise<void>((resolve) => {
      sendRest = resolve
    })
    const body = new ReadableStream<Uint8Array>({
      async start(controller) {
        controller.enqueue(new TextEncoder().encode('first'))
        await rest
        controller.enqueue(new TextEncoder().encode('last'))
        controller.close()
      },
    })
    const response = await web('web', '/echo', { method: 'POST', body, duplex: 'half' })
    const reader = response.body?.pipeThrough(new TextDecoderStream()).getReader()
    expect((await reader?.read())?.value).toBe('first')
    sendRest?.()
    expect((await reader?.read())?.value).toBe('last')
    expect((await reader?.read())?.done).toBe(true)
  })

  it('sees its caller leave within a second, and serves the next', async () => {
    const controller = new AbortController()
    const response = await web('web', '/endless', { signal: controller.signal })
    await response.body?.getReader().read()
    controller.abort()
    const began = Date.now()
    await expect.poll(() => api.log('web'), { timeout: 1_000, interval: 50 }).toContain('caller left')
    expect(Date.now() - began).toBeLessThan(1_000)
    expect((await web('web', '/')).status).toBe(200)
  })

  it('loses no call to a server that closes idle connections after 50 ms', async () => {
    await api.deploy('short', IMAGE, { type: 'web', args: ['short-keep-alive'] })
    const statuses: number[] = []
    for (let n = 0; n < 200; n += 1) {
      const response = await web('short', '/echo', { method: 'POST', body: String(n) })
      expect(await response.text()).toBe(String(n))
      statuses.push(response.status)
      await sleep(60)
    }
    expect(statuses.filter((status) => status !== 200)).toEqual([])
    expect(await states('short')).toHaveLength(1)
  })

  it('never has more calls in an instance than its concurrency', async () => {
    await api.deploy('gauge', IMAGE, { type: 'web', concurrency: 4, maxInstances: 2, timeout: 30, memory: 256 })
    const answers = await Promise.all(
      Array.from({ length: 60 }, async () => {
        const response = await web('gauge', '/')
        return { status: response.status, ...((await response.json()) as { most: number }) }
      }),
    )
    expect(answers.every(({ status }) => status === 200)).toBe(true)
    expect(Math.max(...answers.map(({ most }) => most))).toBe(4)
    expect((await api.instances('gauge')).length).toBeLessThanOrEqual(2)
  })
})

describe('deploy', () => {
  it('splits args on blanks and lays variables over those of function.yaml', async () => {
    await platform.run(
      'deploy',
      '--image',
      IMAGE,
      '--name',
      'split',
      '--args',
      'serves  one two',
      '--env',
      'COLOUR=blue',
    )
    expect((await api.call('split', {})).result).toMatchObject({ argv: ['serves', 'one', 'two'], colour: 'blue' })
  })

  it('refuses variables that the platform keeps for itself, too many bytes of them, and bad names, all in one message', async () => {
    const refused = platform.run(
      ...['deploy', '--image', IMAGE, '--name', 'env', '--env', 'SCF_MINE=1', '--env', '1A=b', '--env'],
      `BIG=${'x'.repeat(4_096)}`,
    )
    await expect(refused).rejects.toThrow(/SCF_MINE.*must not begin with SCF_, which is reserved/s)
    await expect(refused).rejects.toThrow(/1A.*must begin with a letter/s)
    await expect(refused).rejects.toThrow(/at most 4096 are allowed/)
    await platform.run('deploy', '--image', IMAGE, '--name', 'env', '--env', 'TZ=Asia/Shanghai')
  })
})
