import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { Api } from '../helpers/api.ts'
import { Platform, PROJECT } from '../helpers/platform.ts'

const IMAGE = 'default/calls'
const QUICK = { memory: 1_280, timeout: 20 }
const SOON = { timeout: 20_000, interval: 50 }

interface Ready {
  wanted: number
  ready: number
  problem?: string
}

describe('provisioned instances', () => {
  let platform: Platform
  let api: Api
  beforeAll(async () => {
    platform = await Platform.start()
    api = new Api(platform)
    await platform.cli('build', join(PROJECT, 'test/fixtures/calls'), '--name', 'calls')
  })
  afterAll(() => platform?.stop())

  const provisioned = async (name: string): Promise<Ready> => {
    const answer = await api.request('GET', `/v1/namespaces/default/functions/${name}`)
    return ((await answer.json()) as { provisioned: Ready }).provisioned
  }
  const ids = async (name: string): Promise<string[]> => (await api.instances(name)).map(({ id }) => id).sort()

  it('listen before any call, are called without a cold start, and calls beyond them start instances on demand', async () => {
    await platform.run('deploy', '--image', IMAGE, '--name', 'ready', '--provisioned', '2', '--memory', '1280')
    await expect.poll(() => provisioned('ready'), SOON).toEqual({ wanted: 2, ready: 2 })
    expect(await api.instances('ready')).toMatchObject([{ reason: 'provisioned' }, { reason: 'provisioned' }])
    const answers = await Promise.all([1, 2, 3].map(() => api.call('ready', { do: 'waits', ms: 1_000 })))
    expect(answers.map(({ statusCode }) => statusCode)).toEqual([200, 200, 200])
    expect(answers.filter(({ coldStart }) => coldStart === null)).toHaveLength(2)
    const { stderr } = await platform.run('instances', 'list', 'ready')
    expect(stderr).toContain('2 of 2 provisioned instances listen')
  })

  it('stay when they are idle, and are replaced when they end', async () => {
    await api.deploy('kept', IMAGE, { ...QUICK, provisioned: 2, keepAlive: 1 })
    await expect.poll(() => provisioned('kept'), SOON).toEqual({ wanted: 2, ready: 2 })
    const before = await ids('kept')
    await sleep(2_500)
    expect(await ids('kept')).toEqual(before)
    await api.call('kept', { do: 'exits', code: 1 })
    await expect.poll(() => provisioned('kept'), SOON).toEqual({ wanted: 2, ready: 2 })
    const after = await ids('kept')
    expect(after.filter((id) => before.includes(id))).toHaveLength(1)
  })

  it('that fail are tried again ever more slowly, and it is said why there are not more', async () => {
    await api.deploy('fails', IMAGE, { ...QUICK, provisioned: 1, args: ['exits'] })
    await expect
      .poll(() => provisioned('fails'), SOON)
      .toEqual({
        wanted: 1,
        ready: 0,
        problem: expect.stringMatching(
          /^the process exited with code 7 before it listened on port 9000; tried again in \d+ s$/,
        ),
      })
    const starts = async (): Promise<number> =>
      (await api.log('fails')).length + Number((await provisioned('fails')).problem?.match(/in (\d+) s/)?.[1] ?? 0)
    await expect.poll(starts, SOON).toBeGreaterThanOrEqual(4)
    await api.deploy('fails', IMAGE, { ...QUICK, provisioned: 1 })
    await expect.poll(() => provisioned('fails'), SOON).toEqual({ wanted: 1, ready: 1 })
  })

  it('are there again after the server and the supervisor were killed', async () => {
    const before = await ids('kept')
    const { server, supervisor } = platform.state() ?? {}
    for (const pid of [supervisor?.pid, server?.pid]) if (pid !== undefined) process.kill(pid, 'SIGKILL')
    await expect
      .poll(() => platform.isHealthy().then((is) => is && platform.state()?.server?.pid !== server?.pid), SOON)
      .toBe(true)
    await expect.poll(() => provisioned('kept'), SOON).toEqual({ wanted: 2, ready: 2 })
    expect(await ids('kept')).toEqual(before)
  })

  it('are refused for a job, and beyond maxInstances', async () => {
    await expect(api.deploy('no', IMAGE, { type: 'job', provisioned: 1 })).rejects.toThrow(
      /provisioned.*must be 0 for a job/,
    )
    await expect(api.deploy('no', IMAGE, { provisioned: 3, maxInstances: 2 })).rejects.toThrow(
      /at most maxInstances, which is 2/,
    )
  })

  it('of an older revision count against maxInstances until they have ended', async () => {
    await api.deploy('capped', IMAGE, { ...QUICK, maxInstances: 1 })
    const first = api.call('capped', { do: 'waits', ms: 3_000 })
    await expect.poll(async () => (await api.instances('capped'))[0]?.state, SOON).toBe('busy')
    await api.deploy('capped', IMAGE, { ...QUICK, maxInstances: 1, env: { COLOUR: 'new' } })
    const second = api.call('capped', {})
    let most = 0
    while (await Promise.race([second.then(() => false), sleep(50, true)]))
      most = Math.max(most, (await ids('capped')).length)
    expect(await first).toMatchObject({ statusCode: 200 })
    expect((await second).result).toMatchObject({ colour: 'new' })
    expect(most).toBe(1)
  })
})
