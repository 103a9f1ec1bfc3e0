import { createHash } from 'node:crypto'
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { connect, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { httpStatusOf, type InvocationRecord } from '../../api/index.ts'
import { Api, type CallAnswer, type FailedResult } from '../helpers/api.ts'
import { buildInProcess } from '../helpers/builds.ts'
import { requireDocker, startTestDockerd, type TestDockerd } from '../helpers/dockerd.ts'
import { Platform, PROJECT } from '../helpers/platform.ts'

const IMAGE = 'default/calls'
const MIB = 1024 * 1024
const SOON = { timeout: 20_000, interval: 50 }
const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/
const NO_LISTENER =
  'The request timed out in 30000ms.Please confirm your http server have enabled listening on port 9000.'
/** A whole core from the start: these tests are about answers, not about small functions. */
const QUICK = { memory: 1_280, timeout: 20 }

const engines = [
  { engine: 'runc', canRun: process.getuid?.() === 0 },
  { engine: 'docker', canRun: await requireDocker() },
]

interface Case {
  title: string
  settings?: Record<string, unknown>
  event: unknown
  number: number
  message: string | RegExp
  instance: 'kept' | 'recycled'
}

/** What a running function can do to a call. */
const IN_THE_INSTANCE: Case[] = [
  {
    title: 'answers 500 with a text',
    event: { do: 'fails', text: 'out of luck' },
    number: 430,
    message: 'out of luck',
    instance: 'kept',
  },
  {
    title: 'answers 404 with a text',
    event: { do: 'fails', status: 404, text: 'not here' },
    number: 430,
    message: 'not here',
    instance: 'kept',
  },
  {
    title: 'answers 500 with nothing',
    event: { do: 'fails', text: '' },
    number: 430,
    message: 'user code exception caught',
    instance: 'kept',
  },
  {
    title: 'says that its handler is missing',
    event: { do: 'fails', text: JSON.stringify({ errorMessage: 'no handler', statusCode: 437 }) },
    number: 437,
    message: 'no handler',
    instance: 'kept',
  },
  {
    title: 'says that its code cannot be loaded',
    event: { do: 'fails', text: JSON.stringify({ errorMessage: 'bad code', statusCode: 443 }) },
    number: 443,
    message: 'bad code',
    instance: 'kept',
  },
  {
    title: 'closes without answering',
    event: { do: 'closes' },
    number: 430,
    message: /ended the connection without an answer/,
    instance: 'recycled',
  },
  {
    title: 'closes within its answer',
    event: { do: 'cuts' },
    number: 430,
    message: /ended the connection without an answer/,
    instance: 'recycled',
  },
  {
    title: 'answers what is no HTTP',
    event: { do: 'babbles' },
    number: 430,
    message: /^the answer is no HTTP\/1.1 message: it begins with "hello there"/,
    instance: 'recycled',
  },
  {
    title: 'exits',
    event: { do: 'exits', code: 3 },
    number: 439,
    message: 'User process exit when running: code 3',
    instance: 'recycled',
  },
  {
    title: 'exits with 0',
    event: { do: 'exits', code: 0 },
    number: 439,
    message: 'User process exit when running: code 0',
    instance: 'recycled',
  },
  {
    title: 'aborts',
    event: { do: 'aborts' },
    number: 439,
    message: /^User process exit when running: code 1\d\d, as by SIG[A-Z]+$/,
    instance: 'recycled',
  },
  {
    title: 'does not answer',
    settings: { timeout: 1 },
    event: { do: 'works' },
    number: 433,
    message: 'Invoking task timed out after 1 seconds',
    instance: 'recycled',
  },
  {
    title: 'takes too much memory',
    settings: { memory: 128 },
    event: { do: 'eats' },
    number: 434,
    message: /^Memory limit reached/,
    instance: 'recycled',
  },
  {
    title: 'has a child that takes too much memory, and waits',
    settings: { memory: 128 },
    event: { do: 'child-eats' },
    number: 434,
    message: /^Memory limit reached/,
    instance: 'recycled',
  },
  {
    title: 'has a child that takes too much memory, and says so',
    settings: { memory: 128 },
    event: { do: 'child-eats-and-told' },
    number: 434,
    message: /^Memory limit reached/,
    instance: 'recycled',
  },
  {
    title: 'answers one byte over 6 MiB',
    event: { do: 'fills', bytes: 6 * MIB + 1 },
    number: 407,
    message: 'The size of response exceeds the upper limit (6MB)',
    instance: 'kept',
  },
]

describe.each(engines.filter(({ canRun }) => canRun))('an event call on $engine', ({ engine }) => {
  let dockerd: TestDockerd | undefined
  let platform: Platform
  let api: Api
  /** These take half a minute whatever is done: they run beside everything else. */
  let unheard: Promise<CallAnswer[]>
  let impatient: Promise<CallAnswer>

  beforeAll(async () => {
    if (engine === 'docker') dockerd = await startTestDockerd()
    const environment = dockerd === undefined ? {} : { DOCKER_HOST: `unix://${dockerd.socketPath}` }
    platform = await Platform.start(engine, { environment })
    api = new Api(platform)
    await platform.cli('build', join(PROJECT, 'test/fixtures/calls'), '--name', 'calls')
    await api.deploy('loopback', IMAGE, { args: ['loopback-only'], concurrency: 4, maxInstances: 1 })
    unheard = Promise.all([1, 2, 3].map((n) => api.call('loopback', { n })))
    unheard.catch(() => undefined)
    await api.deploy('taken', IMAGE, { ...QUICK, maxInstances: 1, initTimeout: 3, timeout: 60 })
    await vi.waitFor(async () => expect(await api.call('taken', {})).toMatchObject({ statusCode: 200 }), SOON)
    void api.call('taken', { do: 'waits', ms: 55_000 }).catch(() => undefined)
    await vi.waitFor(async () => expect(await api.instances('taken')).toMatchObject([{ state: 'busy' }]), SOON)
    impatient = api.call('taken', {})
    impatient.catch(() => undefined)
  })
  afterAll(async () => {
    await platform?.stop()
    await dockerd?.close()
  })

  const ids = async (name: string): Promise<string[]> => (await api.instances(name)).map(({ id }) => id)
  const warm = async (name: string, settings: Record<string, unknown> = {}): Promise<string> => {
    await api.deploy(name, IMAGE, { ...QUICK, ...settings })
    expect(await api.call(name, {})).toMatchObject({ statusCode: 200 })
    return (await ids(name))[0] ?? ''
  }
  const record = async (requestId: string): Promise<InvocationRecord> => {
    const answer = await api.request('GET', `/v1/invocations/${requestId}`)
    return (await answer.json()) as InvocationRecord
  }
  /** Number, HTTP status, header, error shape and record of a failed call agree. */
  const expectFailure = async (
    answer: CallAnswer,
    number: number,
    message: string | RegExp,
  ): Promise<InvocationRecord> => {
    const failure = answer.result as FailedResult
    expect(answer).toMatchObject({ status: httpStatusOf(number), statusCode: number, header: String(number) })
    expect(failure).toMatchObject({ errorCode: -1, requestId: answer.requestId, statusCode: number })
    if (typeof message === 'string') expect(failure.errorMessage).toBe(message)
    else expect(failure.errorMessage).toMatch(message)
    expect(answer.requestId).toMatch(UUID)
    return record(answer.requestId)
  }

  it.each(IN_THE_INSTANCE.map((one, index) => ({ ...one, name: `case-${index}` })))(
    'to a function that $title is $number, in answer, header and record; its instance is $instance',
    async ({ name, settings, event, number, message, instance }) => {
      const before = await warm(name, settings)
      const answer = await api.call(name, event)
      const kept = await expectFailure(answer, number, message)
      expect(kept).toMatchObject({ kind: 'event', statusCode: number, instance: before, coldStart: null })
      expect(kept.errorMessage).toBe((answer.result as FailedResult).errorMessage)
      if (instance === 'kept') expect(await ids(name)).toEqual([before])
      else await expect.poll(() => ids(name), SOON).toEqual([])
    },
  )

  it('has the stack trace that a failing function answers', async () => {
    await warm('traced')
    const text = JSON.stringify({ errorMessage: 'bad day', stackTrace: 'Error: bad day\n    at here' })
    const { result, requestId } = await api.call('traced', { do: 'fails', text })
    const stackTrace = 'Error: bad day\n    at here'
    expect(result).toEqual({ errorCode: -1, errorMessage: 'bad day', requestId, stackTrace, statusCode: 430 })
  })

  it('answers JSON as it is, any other text as a JSON string, and the largest answer whole', async () => {
    await warm('answers')
    expect(await api.call('answers', { do: 'says', text: '{"a": [1]}' })).toMatchObject({
      statusCode: 200,
      result: { a: [1] },
    })
    expect(await api.call('answers', { do: 'says', text: 'plain "text"' })).toMatchObject({ result: 'plain "text"' })
    const most = await api.call('answers', { do: 'fills', bytes: 6 * MIB })
    expect(most.statusCode).toBe(200)
    expect(most.result).toHaveLength(6 * MIB - 2)
  })

  it('passes an event of 6 MiB whole, also to a function that answers before it has read it', async () => {
    await warm('takes')
    const event = `"${'x'.repeat(6 * MIB - 2)}"`
    await api.deploy('early', IMAGE, { ...QUICK, args: ['answers-early'] })
    expect(await api.callRaw('early', event)).toMatchObject({ statusCode: 200, result: 'early' })
    expect(await api.callRaw('early', '{}')).toMatchObject({ statusCode: 200, result: 'early' })
    const { result } = await api.callRaw('takes', JSON.stringify({ do: 'digests', text: 'x'.repeat(6 * MIB - 100) }))
    expect(result).toBe(
      createHash('sha256')
        .update('x'.repeat(6 * MIB - 100))
        .digest('hex'),
    )
  })

  it('keeps /tmp from call to call, and each instance has its own', async () => {
    await warm('counts')
    expect((await api.call('counts', { do: 'counts' })).result).toBe(1)
    expect((await api.call('counts', { do: 'counts' })).result).toBe(2)
    await api.call('counts', { do: 'exits', code: 1 })
    expect((await api.call('counts', { do: 'counts' })).result).toBe(1)
  })

  it('has a request id of ours, and keeps the caller’s beside it', async () => {
    await warm('named')
    const answer = await api.callRaw('named', '{}', { 'x-request-id': 'MINE-1' })
    expect(answer.requestId).toMatch(UUID)
    expect(await record(answer.requestId)).toMatchObject({ callerRequestId: 'MINE-1', statusCode: 200 })
  })

  it('is 434 for every call in flight when the memory ends', async () => {
    await warm('crowded', { memory: 128, concurrency: 4, maxInstances: 1 })
    const others = [1, 2].map(() => api.call('crowded', { do: 'waits', ms: 15_000 }))
    await expect.poll(async () => (await api.instances('crowded'))[0]?.state, SOON).toBe('busy')
    const answers = await Promise.all([api.call('crowded', { do: 'child-eats' }), ...others])
    for (const answer of answers) await expectFailure(answer, 434, /^Memory limit reached/)
  })

  it('is answered at its deadline, and its work is dead soon after', async () => {
    await warm('late', { timeout: 1 })
    const began = Date.now()
    const { requestId } = await api.call('late', { do: 'works', everyMs: 10 })
    // Ten times what is promised (bench: deadline-433, deadline-dead), for machines that have other things to do.
    expect(Date.now() - began - 1_000).toBeLessThan(500)
    await expect.poll(() => ids('late'), SOON).toEqual([])
    const lines = await api.log('late', requestId)
    const times = lines.map((line) => Number(/^at work (\d+)$/.exec(line)?.[1] ?? 0)).filter((time) => time > 0)
    expect(times.length).toBeGreaterThan(10)
    expect(Math.max(...times) - began - 1_000).toBeLessThan(2_000)
  })

  it('answers the last 4 KB of what it printed itself, where that was asked for', async () => {
    await warm('prints')
    await api.call('prints', { do: 'logs', text: 'before' })
    const { logTail } = await api.callRaw(
      'prints?tail=true',
      JSON.stringify({ do: 'logs', text: 'line', lines: 2_000 }),
    )
    expect(Buffer.byteLength(logTail ?? '')).toBe(4_096)
    expect(logTail).toMatch(/line 1999\nline 2000\n$/)
    expect(logTail).not.toContain('before')
    const quiet = await api.callRaw('prints?tail=true', JSON.stringify({ do: 'says', text: 'nothing' }))
    expect(quiet.logTail).toBe('')
  })

  it('keeps its body unread while it waits behind others', async () => {
    await warm('behind', { maxInstances: 1 })
    const first = api.call('behind', { do: 'waits', ms: 3_000 })
    await expect.poll(async () => (await api.instances('behind'))[0]?.state, SOON).toBe('busy')
    // 300 MB where all bodies in memory may have 256.
    const body = JSON.stringify({ do: 'says', text: 'x'.repeat(5 * MIB) })
    const calls = Array.from({ length: 60 }, () => api.callRaw('behind', body))
    await first
    const answers = await Promise.all(calls)
    expect(answers.map(({ statusCode }) => statusCode)).toEqual(calls.map(() => 200))
  })

  it('past its deadline is reset alone where others run in the same instance', async () => {
    const before = await warm('shared', { concurrency: 4, maxInstances: 1, timeout: 1 })
    const late = api.call('shared', { do: 'waits-or-gone', ms: 30_000 })
    await sleep(500)
    const other = api.call('shared', { do: 'waits', ms: 800 })
    await expectFailure(await late, 433, 'Invoking task timed out after 1 seconds')
    expect(await other).toMatchObject({ statusCode: 200 })
    expect(await ids('shared')).toEqual([before])
    await expect.poll(() => api.log('shared'), SOON).toContain('request was reset')
  })

  it('is refused with its number before it reaches an instance', async () => {
    await api.deploy('refuses', IMAGE, QUICK)
    await api.deploy('page', IMAGE, { ...QUICK, type: 'web' })
    const json = 'InvalidParameterValue: the event is not JSON; send one JSON value in UTF-8; a text needs quotes'
    await expectFailure(await api.callRaw('refuses', '{"open":'), 400, json)
    await expectFailure(await api.callRaw('refuses', '{}', { authorization: '' }), 401, /^InvalidCredentials: /)
    await expectFailure(await api.callRaw('refuses', `"${'x'.repeat(6 * MIB - 1)}"`), 406, /^RequestTooLarge: /)
    await expectFailure(await api.call('nobody', {}), 435, /^FunctionNotFound: there is no function nobody/)
    await expectFailure(await api.call('page', {}), 436, /^InvalidParameterValue: .* is a web function/)
    await expectFailure(await api.call('refuses?qualifier=7', {}), 442, /^QualifierNotFound: /)
    await expectFailure(await api.call('refuses?qualifier=-', {}), 400, /^InvalidParameterValue: /)
    expect(await ids('refuses')).toEqual([])
  })

  it('is 449 when bodies take all the memory that they may', async () => {
    await warm('full')
    const path = '/v1/namespaces/default/functions/full/invocations'
    const head = `POST ${path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer ${platform.token}\r\nContent-Length: ${6 * MIB}\r\n\r\n`
    const sockets: Socket[] = []
    const refused: string[] = []
    try {
      for (let n = 0; n < 44; n += 1) {
        const socket = connect(platform.port, '127.0.0.1')
        socket.on('error', () => undefined)
        socket.on('data', (bytes: Buffer) => refused.push(bytes.toString('utf8')))
        socket.write(`${head}"the rest never comes`)
        sockets.push(socket)
      }
      await expect.poll(() => refused.length, SOON).toBeGreaterThan(0)
      const [answerHead = '', body = ''] = refused[0]?.split('\r\n\r\n') ?? []
      expect(answerHead).toMatch(/^HTTP\/1\.1 503 /)
      const header = /x-slipway-status: (\d+)/i.exec(answerHead)?.[1] ?? null
      const answer = { ...(JSON.parse(body) as CallAnswer), status: 503, header }
      await expectFailure(answer, 449, /^InsufficientResources: .*as many bodies as its memory budget allows/)
    } finally {
      for (const socket of sockets) socket.destroy()
    }
    await expect.poll(async () => (await api.call('full', {})).statusCode, SOON).toBe(200)
  })

  it('is 432 behind a full queue', async () => {
    await warm('queue', { maxInstances: 1 })
    const first = api.call('queue', { do: 'waits', ms: 15_000 })
    await expect.poll(async () => (await api.instances('queue'))[0]?.state, SOON).toBe('busy')
    const calls = Array.from({ length: 1_010 }, () => api.call('queue', {}))
    const refused: CallAnswer[] = []
    for (const call of calls) void call.then((answer) => refused.push(answer)).catch(() => undefined)
    await expect.poll(() => refused.length, SOON).toBe(10)
    for (const answer of refused) await expectFailure(answer, 432, /more than 1000 calls wait for queue/)
    await platform.cli('delete', 'queue')
    const answers = await Promise.all(calls)
    expect(answers.filter(({ statusCode }) => statusCode === 438)).toHaveLength(1_000)
    await api.deploy('queue', IMAGE, QUICK)
    await first
  })

  it('that waits when its function is deleted is 438', async () => {
    await warm('deleted', { maxInstances: 1 })
    const first = api.call('deleted', { do: 'waits', ms: 10_000 })
    await expect.poll(async () => (await api.instances('deleted'))[0]?.state, SOON).toBe('busy')
    const waits = api.call('deleted', {})
    await sleep(1_000)
    await platform.cli('delete', 'deleted')
    await expectFailure(await waits, 438, /deleted/)
    expect(await first).toMatchObject({ statusCode: 200 })
  })

  it('that no instance can be started for has the number of the reason', async () => {
    await api.deploy('leaves', IMAGE, { ...QUICK, args: ['exits'] })
    await expectFailure(
      await api.call('leaves', {}),
      405,
      'the process exited with code 7 before it listened on port 9000',
    )
    await api.deploy('absent', IMAGE, { ...QUICK, command: ['no-such-program'] })
    await expectFailure(await api.call('absent', {}), 445, /no-such-program.*executable file .*not found in \$PATH/s)
    await api.deploy('silent', IMAGE, { ...QUICK, args: ['never-listens'], initTimeout: 3 })
    await expectFailure(await api.call('silent', {}), 450, /did not initialise within initTimeout/)
    for (const name of ['leaves', 'absent', 'silent']) await expect.poll(() => ids(name), SOON).toEqual([])
  })

  it('is 429 when its namespace starts more instances in a minute than it may', async () => {
    await api.put('/v1/namespaces/bursting', { startsPerMinute: 1 })
    await platform.cli('build', join(PROJECT, 'test/fixtures/calls'), '--name', 'calls', '--namespace', 'bursting')
    await api.put('/v1/namespaces/bursting/functions/f', {
      image: 'bursting/calls',
      settings: { ...QUICK, maxInstances: 2 },
    })
    const call = (event: unknown): Promise<CallAnswer> =>
      api.callRaw('f', JSON.stringify(event), {}, { namespace: 'bursting' })
    const first = call({ do: 'waits', ms: 2_000 })
    await expect.poll(async () => (await api.instances('f', 'bursting'))[0]?.state, SOON).toBe('busy')
    await expectFailure(await call({}), 429, /bursting may start 1 instances in a minute/)
    expect(await first).toMatchObject({ statusCode: 200 })
    expect(await call({})).toMatchObject({ statusCode: 200, coldStart: null })
  })

  describe('whose image is not here', () => {
    /** Images of their own: the others' content is local. */
    const other = async (name: string, settings: Record<string, unknown> = {}): Promise<string> => {
      const source = mkdtempSync(join(tmpdir(), 'slipway-source-'))
      writeFileSync(join(source, 'index.js'), `exports.main_handler = () => '${name}'`)
      await buildInProcess(platform, source, name)
      rmSync(source, { recursive: true })
      return (await api.deploy(name, `default/${name}`, { ...QUICK, ...settings })).image.platformDigest
    }

    it('is 444 when the registry has it no more', async () => {
      const digest = await other('lost')
      const storage = join(platform.dataDirectory, 'registry/data/docker/registry/v2/repositories/default/lost')
      expect(existsSync(storage)).toBe(true)
      rmSync(storage, { recursive: true })
      await expectFailure(await api.call('lost', {}), 444, new RegExp(digest))
      expect(await ids('lost')).toEqual([])
    })

    it('is 447 when the pull does not end within initTimeout', async () => {
      await other('slow', { initTimeout: 3 })
      const registry = platform.state()?.registry?.pid ?? 0
      process.kill(registry, 'SIGSTOP')
      try {
        await expectFailure(
          await api.call('slow', {}),
          447,
          /^pull of .*default\/slow@sha256:[0-9a-f]{64} was not (?:done by its deadline|complete within)/,
        )
        expect(await ids('slow')).toEqual([])
      } finally {
        process.kill(registry, 'SIGCONT')
      }
      // Nothing of the first try stands in the way of the next one.
      await expect.poll(async () => (await api.call('slow', {})).statusCode, SOON).toBe(200)
    })

    it('goes on with the former content when an update fails', async () => {
      await warm('stays', { env: { COLOUR: 'red' } })
      await expect(api.deploy('stays', 'default/nothing-there', QUICK)).rejects.toThrow(/nothing-there/)
      await expect(api.deploy('stays', IMAGE, { memory: 100 })).rejects.toThrow(/multiple of 128/)
      expect((await api.call('stays', {})).result).toMatchObject({ colour: 'red' })
    })
  })

  describe('whose caller leaves', () => {
    const leave = async (name: string, query = ''): Promise<string> => {
      const controller = new AbortController()
      const call = api
        .callRaw(
          `${name}${query}`,
          JSON.stringify({ do: 'waits-or-gone', ms: 1_500 }),
          {},
          { signal: controller.signal },
        )
        .catch(() => undefined)
      await expect.poll(async () => (await api.instances(name))[0]?.state, SOON).toBe('busy')
      controller.abort()
      await call
      const newest = async (): Promise<InvocationRecord | undefined> => (await api.records(name))[0]
      await expect.poll(async () => (await newest())?.durationMs ?? 0, SOON).toBeGreaterThan(0)
      return (await newest())?.requestId ?? ''
    }

    it('runs on to its end, which its record tells', async () => {
      const before = await warm('alone')
      await leave('alone')
      await expect.poll(async () => (await api.records('alone'))[0]?.durationMs ?? 0, SOON).toBeGreaterThan(1_400)
      expect((await api.records('alone'))[0]).toMatchObject({ statusCode: 200, instance: before })
    })

    it('is 499 and reset within a second where that was asked for', async () => {
      await warm('reset')
      await leave('reset', '?cancel=true')
      await expect.poll(async () => (await api.records('reset'))[0]?.statusCode, SOON).toBe(499)
      expect((await api.records('reset'))[0]?.durationMs).toBeLessThan(1_400)
      await expect.poll(() => api.log('reset'), SOON).toContain('request was reset')
    })
  })

  it('is 446 with the documented sentence after half a minute, for every caller, and in the log', async () => {
    for (const answer of await unheard) await expectFailure(answer, 446, NO_LISTENER)
    await expect.poll(() => ids('loopback'), SOON).toEqual([])
    const log = (await api.log('loopback')).join('\n')
    expect(log.split(NO_LISTENER).length - 1).toBeGreaterThanOrEqual(3)
  })

  it('is 432 when no instance became free within initTimeout and 30 s', async () => {
    await expectFailure(await impatient, 432, /no instance became free in time/)
  })
})
