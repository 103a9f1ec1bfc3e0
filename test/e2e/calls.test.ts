import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { Api, type CallAnswer, type FailedResult } from '../helpers/api.ts'
import { Platform, PROJECT } from '../helpers/platform.ts'

const IMAGE = 'default/calls'
const MIB = 1024 * 1024
const NO_LISTENER =
  'The request timed out in 30000ms.Please confirm your http server have enabled listening on port 9000.'
const SOON = { timeout: 20_000, interval: 100 }

let platform: Platform
let api: Api
/** These two take half a minute whatever is done: they run beside everything else. */
let unheard: Promise<CallAnswer[]>
let impatient: Promise<CallAnswer>

beforeAll(async () => {
  platform = await Platform.start()
  api = new Api(platform)
  await platform.cli('build', join(PROJECT, 'test/fixtures/calls'), '--name', 'calls')
  await api.deploy('loopback', IMAGE, { args: ['loopback-only'], concurrency: 4, maxInstances: 1 })
  unheard = Promise.all([1, 2, 3].map((n) => api.call('loopback', { n })))
  unheard.catch(() => undefined)
  await api.deploy('taken', IMAGE, { maxInstances: 1, initTimeout: 3, timeout: 60 })
  // On a busy machine the first starts may take longer than its initTimeout.
  await vi.waitFor(async () => expect(await api.call('taken', {})).toMatchObject({ statusCode: 200 }), SOON)
  void api.call('taken', { do: 'waits', ms: 45_000 }).catch(() => undefined)
  const busy = async (): Promise<void> => expect(await api.instances('taken')).toMatchObject([{ state: 'busy' }])
  await vi.waitFor(busy, SOON)
  impatient = api.call('taken', {})
  impatient.catch(() => undefined)
})
afterAll(() => platform?.stop())

function failure(answer: CallAnswer): FailedResult {
  return answer.result as FailedResult
}

/** A function of its own for a test, called once so that an instance is there. */
async function warm(name: string, settings: Record<string, unknown> = {}): Promise<string> {
  await api.deploy(name, IMAGE, settings)
  expect(await api.call(name, {})).toMatchObject({ statusCode: 200 })
  const [instance] = await api.instances(name)
  return instance?.id ?? ''
}

const ids = async (name: string): Promise<string[]> => (await api.instances(name)).map(({ id }) => id)

describe('a call that no instance could be started for', () => {
  it('is 405 when the process exits before it listens, with its exit code', async () => {
    await api.deploy('leaves', IMAGE, { args: ['exits'] })
    const answer = await api.call('leaves', {})
    expect(answer).toMatchObject({ status: 503, statusCode: 405 })
    expect(failure(answer).errorMessage).toBe('the process exited with code 7 before it listened on port 9000')
    await expect.poll(() => ids('leaves'), SOON).toEqual([])
  })

  it('is 445 with the words of the OCI runtime when the command does not exist', async () => {
    await api.deploy('absent', IMAGE, { command: ['no-such-program'] })
    const answer = await api.call('absent', {})
    expect(answer).toMatchObject({ status: 503, statusCode: 445 })
    expect(failure(answer).errorMessage).toMatch(/no-such-program/)
    expect(failure(answer).errorMessage).toMatch(/executable file .*not found in \$PATH/)
    expect(await ids('absent')).toEqual([])
  })

  it('is 450 when nothing listens within initTimeout', async () => {
    await api.deploy('silent', IMAGE, { args: ['never-listens'], initTimeout: 3 })
    const began = Date.now()
    const answer = await api.call('silent', {})
    expect(answer).toMatchObject({ status: 504, statusCode: 450 })
    expect(failure(answer).errorMessage).toContain('did not initialise within initTimeout')
    expect(Date.now() - began).toBeGreaterThan(2_500)
    await expect.poll(() => ids('silent'), SOON).toEqual([])
  })

  it('is 444 when the image is gone from the registry', async () => {
    // The same source would have the same digest as the one that runs already, and be local.
    const source = mkdtempSync(join(tmpdir(), 'slipway-source-'))
    writeFileSync(join(source, 'index.js'), `exports.main_handler = () => 'never'`)
    await platform.cli('build', source, '--name', 'lost')
    rmSync(source, { recursive: true })
    const deployed = await api.deploy('lost', 'default/lost')
    const storage = join(platform.dataDirectory, 'registry/data/docker/registry/v2/repositories/default/lost')
    expect(existsSync(storage)).toBe(true)
    rmSync(storage, { recursive: true })
    const answer = await api.call('lost', {})
    expect(answer).toMatchObject({ status: 503, statusCode: 444 })
    expect(failure(answer).errorMessage).toContain(deployed.image.platformDigest)
  })

  it('is 432 for the caller behind a full queue', async () => {
    await api.deploy('queue', IMAGE, { maxInstances: 1, timeout: 10 })
    const first = api.call('queue', { do: 'waits', ms: 4_000 })
    await expect.poll(() => ids('queue'), SOON).toHaveLength(1)
    const callers = Array.from({ length: 1_010 }, () => api.call('queue', {}))
    const answers = await Promise.all(callers)
    const refused = answers.filter(({ statusCode }) => statusCode === 432)
    expect(await first).toMatchObject({ statusCode: 200 })
    expect(refused.length).toBeGreaterThan(0)
    expect(refused.length).toBeLessThanOrEqual(11)
    expect(refused[0]).toMatchObject({ status: 429 })
    expect(answers.filter(({ statusCode }) => statusCode !== 432 && statusCode !== 200)).toEqual([])
  })
})

describe('a call that fails in its instance', () => {
  it('is 433 at its timeout, and the work is stopped with its instance', async () => {
    await warm('works', { timeout: 1 })
    const answer = await api.call('works', { do: 'works' })
    expect(answer).toMatchObject({ status: 504, statusCode: 433 })
    expect(failure(answer)).toMatchObject({ errorCode: -1, errorMessage: 'Invoking task timed out after 1 seconds' })
    await expect.poll(() => ids('works'), SOON).toEqual([])
    const lines = async (): Promise<number> =>
      (await api.log('works')).filter((line) => line.includes('at work')).length
    const then = await lines()
    expect(then).toBeGreaterThan(0)
    await sleep(1_200)
    expect(await lines()).toBe(then)
  })

  it('is 439 when the process exits, and the next call has another instance', async () => {
    const before = await warm('exits')
    const answer = await api.call('exits', { do: 'exits', code: 3 })
    expect(answer).toMatchObject({ status: 502, statusCode: 439 })
    expect(failure(answer).errorMessage).toBe('User process exit when running: code 3')
    expect((await api.call('exits', {})).coldStart).not.toBeNull()
    expect(await ids('exits')).not.toContain(before)
  })

  it('is 434 when it takes more memory than it may, and the next call has another instance', async () => {
    const before = await warm('eats', { timeout: 30 })
    const answer = await api.call('eats', { do: 'eats' })
    expect(answer).toMatchObject({ status: 502, statusCode: 434 })
    expect(failure(answer).errorMessage).toContain('Memory limit reached')
    expect(await api.call('eats', {})).toMatchObject({ statusCode: 200 })
    expect(await ids('eats')).not.toContain(before)
  })

  it('is 430 with the text, or the message and stack of the JSON, that a failing function answers; its instance stays', async () => {
    const before = await warm('fails')
    const plain = await api.call('fails', { do: 'fails', text: 'out of luck' })
    expect(plain).toMatchObject({ status: 502, statusCode: 430, result: { errorMessage: 'out of luck' } })
    const text = JSON.stringify({ errorMessage: 'bad day', stackTrace: 'Error: bad day\n    at here' })
    const json = await api.call('fails', { do: 'fails', text })
    expect(json).toMatchObject({ status: 502, statusCode: 430, coldStart: null })
    expect(failure(json)).toMatchObject({
      errorCode: -1,
      errorMessage: 'bad day',
      stackTrace: 'Error: bad day\n    at here',
      requestId: json.requestId,
    })
    expect(await ids('fails')).toEqual([before])
  })

  it('is 407 for an answer of one byte over 6 MiB, and the largest answer comes whole', async () => {
    await warm('fills', { timeout: 30, memory: 256 })
    const most = await api.call('fills', { do: 'fills', bytes: 6 * MIB })
    expect(most.statusCode).toBe(200)
    expect((most.result as string).length).toBe(6 * MIB - 2)
    const answer = await api.call('fills', { do: 'fills', bytes: 6 * MIB + 1 })
    expect(answer).toMatchObject({ status: 502, statusCode: 407 })
    expect(failure(answer).errorMessage).toBe('The size of response exceeds the upper limit (6MB)')
    expect(await api.call('fills', {})).toMatchObject({ statusCode: 200 })
  })
})

describe('a call that reaches no instance', () => {
  it('is 406 for an event of one byte over 6 MiB', async () => {
    await api.deploy('refuses', IMAGE)
    const answer = await api.callRaw('refuses', `"${'x'.repeat(6 * MIB - 1)}"`)
    expect(answer).toMatchObject({ status: 413, statusCode: 406 })
    expect(await ids('refuses')).toEqual([])
  })

  it('is 400 for an event that is no JSON, 435 for a function that is not there, 401 without a token', async () => {
    expect(await api.callRaw('refuses', '{"open":')).toMatchObject({ status: 400, statusCode: 400 })
    expect(await api.call('nobody', {})).toMatchObject({ status: 404, statusCode: 435 })
    expect(await api.callRaw('refuses', '{}', { authorization: '' })).toMatchObject({ status: 401, statusCode: 401 })
    expect(await ids('refuses')).toEqual([])
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

describe('after half a minute', () => {
  it('is 446 with the documented sentence for every caller of a server on 127.0.0.1, and in the log', async () => {
    const answers = await unheard
    for (const answer of answers) {
      expect(answer).toMatchObject({ status: 504, statusCode: 446 })
      expect(failure(answer).errorMessage).toBe(NO_LISTENER)
    }
    await expect.poll(() => ids('loopback'), SOON).toEqual([])
    const log = (await api.log('loopback')).join('\n')
    for (const { requestId } of answers) expect(log).toContain(requestId)
    expect(log.split(NO_LISTENER).length - 1).toBeGreaterThanOrEqual(answers.length)
  })

  it('is 432 for a caller that found no free instance within initTimeout and 30 s', async () => {
    expect(await impatient).toMatchObject({ status: 429, statusCode: 432 })
  })
})
