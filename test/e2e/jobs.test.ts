import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { InvocationRecord } from '../../api/index.ts'
import { Api } from '../helpers/api.ts'
import { requireDocker, startTestDockerd, type TestDockerd } from '../helpers/dockerd.ts'
import { Platform, PROJECT } from '../helpers/platform.ts'

const IMAGE = 'default/calls'
const SOON = { timeout: 20_000, interval: 50 }
/** execve(2) allows 128 KiB for `SCF_CUSTOM_CONTAINER_EVENT=…` and its NUL. */
const LARGEST_EVENT = 128 * 1024 - 'SCF_CUSTOM_CONTAINER_EVENT=\0'.length
const JOB = { type: 'job', args: ['job'], memory: 1_280, timeout: 20 }

const engines = [
  { engine: 'runc', canRun: process.getuid?.() === 0 },
  { engine: 'docker', canRun: await requireDocker() },
]

describe.each(engines.filter(({ canRun }) => canRun))('a job on $engine', ({ engine }) => {
  let dockerd: TestDockerd | undefined
  let platform: Platform
  let api: Api
  beforeAll(async () => {
    if (engine === 'docker') dockerd = await startTestDockerd()
    const environment = dockerd === undefined ? {} : { DOCKER_HOST: `unix://${dockerd.socketPath}` }
    platform = await Platform.start(engine, { environment })
    api = new Api(platform)
    await platform.cli('build', join(PROJECT, 'test/fixtures/calls'), '--name', 'calls')
  })
  afterAll(async () => {
    await platform?.stop()
    await dockerd?.close()
  })

  const record = async (requestId: string): Promise<InvocationRecord> =>
    (await (await api.request('GET', `/v1/invocations/${requestId}`)).json()) as InvocationRecord
  const over = async (requestId: string): Promise<InvocationRecord> => {
    await expect.poll(async () => (await record(requestId)).statusCode, SOON).not.toBe(202)
    return record(requestId)
  }
  const running = async (requestId: string): Promise<void> => {
    await expect.poll(async () => (await api.log('job')).join('\n'), SOON).toContain(`START RequestId:${requestId}`)
    await expect
      .poll(async () => (await lines(requestId)).some((line) => line.startsWith('job began')), SOON)
      .toBe(true)
  }
  const lines = async (requestId: string): Promise<string[]> => {
    const response = await api.request('GET', `/v1/namespaces/default/functions/job/logs?requestId=${requestId}`)
    const text = (await response.text()).trim()
    return text === '' ? [] : text.split('\n').map((line) => (JSON.parse(line) as { line: string }).line)
  }

  it('is answered with 200 and its request id before the pull, runs with its event, and exit 0 is 200', async () => {
    const text = '{"ms": 300, "echo":true,\n "text":"Grüße"}'
    await api.deploy('job', IMAGE, JOB)
    const answer = await api.callRaw('job', text)
    expect(answer).toMatchObject({ status: 200, statusCode: 200, result: null, accepted: true, coldStart: null })
    expect(answer.requestId).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/)
    expect(await record(answer.requestId)).toMatchObject({ kind: 'job', statusCode: 202, instance: null })
    const ended = await over(answer.requestId)
    expect(ended).toMatchObject({
      statusCode: 200,
      exitCode: 0,
      errorMessage: null,
      function: 'job',
      version: '$LATEST',
    })
    expect(ended.instance).toMatch(/^[0-9a-f]{16}$/)
    expect(ended.durationMs).toBeGreaterThan(299)
    expect(ended.coldStart?.phases).toMatchObject({ pull: expect.any(Number), start: expect.any(Number) })
    const printed = await lines(answer.requestId)
    const [first, ...event] = text.split('\n')
    expect(printed).toEqual([
      `START RequestId:${answer.requestId}`,
      expect.stringMatching(/^Init Report RequestId/),
      `job began job ${first}`,
      ...event,
      'job ends',
      `END RequestId:${answer.requestId}`,
      expect.stringMatching(/^Report RequestId/),
    ])
    await expect.poll(() => api.instances('job'), SOON).toEqual([])
  })

  it('is made of a source whose function.yaml says so, and called by the CLI', async () => {
    const source = mkdtempSync(join(tmpdir(), 'slipway-source-'))
    writeFileSync(
      join(source, 'function.yaml'),
      'name: batch\ntype: job\ncommand: [node, batch.js]\nmemory: 1280\ntimeout: 20\n',
    )
    writeFileSync(join(source, 'batch.js'), 'console.log(JSON.parse(process.env.SCF_CUSTOM_CONTAINER_EVENT).text)')
    await platform.run('deploy', source)
    rmSync(source, { recursive: true })
    const called = await platform.run('invoke', 'batch', '-d', '{"text":"from the event"}')
    const [, requestId = ''] = /^accepted as (\S+)$/.exec(called.stdout.trim()) ?? []
    expect(called.stderr).toContain(`slipway why ${requestId}`)
    expect(await over(requestId)).toMatchObject({ statusCode: 200, exitCode: 0 })
    const { stdout } = await platform.run('logs', 'batch', '--request-id', requestId)
    expect(stdout).toContain('from the event')
    await expect(platform.run('cancel', requestId)).rejects.toThrow(/is over: it ended with 200/)
  })

  it('that exits with another code is 439 with it, and each has an instance of its own', async () => {
    const answers = await Promise.all([3, 0, 255].map((code) => api.call('job', { code })))
    const records = await Promise.all(answers.map(({ requestId }) => over(requestId)))
    expect(records.map(({ statusCode, exitCode }) => [statusCode, exitCode])).toEqual([
      [439, 3],
      [200, 0],
      [439, 255],
    ])
    expect(records[0]?.errorMessage).toBe('User process exit when running: code 3')
    expect(new Set(records.map(({ instance }) => instance)).size).toBe(3)
    expect(await lines(answers[0]?.requestId ?? '')).toContainEqual(
      expect.stringMatching(/^ERROR RequestId:.* Result:439$/),
    )
  })

  it('takes an event of as many bytes as a variable may have, and is 406 for one more', async () => {
    const text = (bytes: number): string => JSON.stringify({ text: 'x'.repeat(bytes - '{"text":""}'.length) })
    const largest = await api.callRaw('job', text(LARGEST_EVENT))
    expect(await over(largest.requestId)).toMatchObject({ statusCode: 200 })
    expect(await lines(largest.requestId)).toContain(`job began job ${LARGEST_EVENT}`)
    const refused = await api.callRaw('job', text(LARGEST_EVENT + 1))
    expect(refused).toMatchObject({ status: 413, statusCode: 406 })
    expect(await record(refused.requestId)).toMatchObject({ kind: 'job', statusCode: 406, instance: null })
  })

  it('past its timeout is asked by SIGTERM, then killed, and is 433', async () => {
    await api.deploy('brief', IMAGE, { ...JOB, timeout: 2 })
    const [deaf, polite] = await Promise.all([
      api.call('brief', { ms: 60_000 }),
      api.call('brief', { ms: 60_000, trap: { code: 5 } }),
    ])
    expect(await over(polite.requestId)).toMatchObject({
      statusCode: 433,
      exitCode: 5,
      errorMessage: 'Invoking task timed out after 2 seconds',
    })
    const ended = await over(deaf.requestId)
    expect(ended).toMatchObject({ statusCode: 433, exitCode: 137 })
    expect(ended.durationMs).toBeLessThan(7_000)
  })

  it('that takes too much memory is 434', async () => {
    await api.deploy('eats', IMAGE, { ...JOB, memory: 128 })
    const { requestId } = await api.call('eats', { eat: true })
    expect(await over(requestId)).toMatchObject({ statusCode: 434, exitCode: 137 })
  })

  it('that cannot start has its number and the reason in its record', async () => {
    await api.deploy('absent', IMAGE, { type: 'job', command: ['no-such-program'] })
    const { requestId } = await api.call('absent', {})
    const ended = await over(requestId)
    expect(ended).toMatchObject({ statusCode: 445 })
    expect(ended.errorMessage).toContain('no-such-program')
    await expect.poll(() => api.instances('absent'), SOON).toEqual([])
  })

  it('is cancelled with 499, killed or asked first, and one that waits never runs', async () => {
    await api.deploy('job', IMAGE, { ...JOB, maxInstances: 1 })
    const cancel = async (requestId: string, query = ''): Promise<InvocationRecord> =>
      (await (await api.request('DELETE', `/v1/invocations/${requestId}${query}`)).json()) as InvocationRecord
    const first = await api.call('job', { ms: 60_000 })
    await running(first.requestId)
    const waits = await api.call('job', { ms: 60_000 })
    expect(await cancel(waits.requestId)).toMatchObject({ statusCode: 499, instance: null })
    expect(await cancel(first.requestId)).toMatchObject({ statusCode: 499, exitCode: 137 })
    const asked = await api.call('job', { ms: 60_000, trap: { code: 0 } })
    await running(asked.requestId)
    expect(await cancel(asked.requestId, '?graceful=true')).toMatchObject({ statusCode: 200, exitCode: 0 })
    const again = await api.request('DELETE', `/v1/invocations/${asked.requestId}`)
    expect(again.status).toBe(409)
    expect((await lines(waits.requestId)).filter((line) => line.startsWith('job'))).toEqual([])
  })

  it('accepted before the server was killed begins afterwards, once; one that ran goes on; none is lost', async () => {
    await api.deploy('job', IMAGE, { ...JOB, maxInstances: 2 })
    const runs = await api.call('job', { ms: 4_000, steps: 20 })
    await running(runs.requestId)
    const answers = await Promise.all(Array.from({ length: 6 }, () => api.call('job', { ms: 100 })))
    for (let kill = 0; kill < 3; kill += 1) {
      const pid = platform.state()?.server?.pid
      if (pid !== undefined) process.kill(pid, 'SIGKILL')
      await expect
        .poll(() => platform.isHealthy().then((is) => is && platform.state()?.server?.pid !== pid), SOON)
        .toBe(true)
    }
    const records = await Promise.all(answers.map(({ requestId }) => over(requestId)))
    expect(records.map(({ statusCode }) => statusCode)).toEqual(answers.map(() => 200))
    expect(await over(runs.requestId)).toMatchObject({ statusCode: 200, exitCode: 0 })
    const printed = async (): Promise<string[]> =>
      (await lines(runs.requestId)).filter((line) => /^(?:step|job)/.test(line))
    await expect.poll(printed, SOON).toHaveLength(22)
    for (const { requestId } of answers) {
      expect((await lines(requestId)).filter((line) => line.startsWith('job began'))).toHaveLength(1)
    }
    await expect.poll(() => api.instances('job'), SOON).toEqual([])
  })

  it('that ends while no server lives has its exit code in its record', async () => {
    const { requestId } = await api.call('job', { ms: 600, code: 9 })
    await running(requestId)
    const pid = platform.state()?.server?.pid ?? 0
    process.kill(pid, 'SIGSTOP')
    await sleep(1_500)
    process.kill(pid, 'SIGKILL')
    expect(await over(requestId)).toMatchObject({ statusCode: 439, exitCode: 9 })
  })

  it('goes on when the supervisor is killed', async () => {
    const { requestId } = await api.call('job', { ms: 2_000, code: 4 })
    await running(requestId)
    process.kill(platform.state()?.supervisor.pid ?? 0, 'SIGKILL')
    expect(await over(requestId)).toMatchObject({ statusCode: 439, exitCode: 4 })
  })

  it('that the platform was stopped under is 500 in its record, and is not run again', async () => {
    await api.deploy('job', IMAGE, { ...JOB, timeout: 300 })
    const { requestId } = await api.call('job', { ms: 200_000 })
    await running(requestId)
    await platform.run('down')
    await platform.up()
    expect(await over(requestId)).toMatchObject({
      statusCode: 500,
      errorMessage: expect.stringContaining('was stopped'),
    })
    expect((await lines(requestId)).filter((line) => line.startsWith('job began'))).toHaveLength(1)
  })
})
