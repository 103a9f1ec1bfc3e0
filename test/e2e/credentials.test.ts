import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import type { PullCredentialEntry } from '../../api/index.ts'
import { createLogger, dataPaths } from '../../common/index.ts'
import { type OwnedContentStore, openContentStore } from '../../content/index.ts'
import { Platform } from '../helpers/platform.ts'

interface Called {
  requestId: string
  statusCode: number
  coldStart: { phases: Record<string, number>; credential?: string } | null
}

interface Explained {
  invocation: { queueMs?: number; coldStart: Called['coldStart'] }
  number: { number: number; name: string; meaning: string }
  credential: PullCredentialEntry | null
}

describe('the credential of a download, on a whole platform', () => {
  let platform: Platform
  let content: OwnedContentStore
  let source: string
  beforeAll(async () => {
    platform = await Platform.start()
    process.env['SLIPWAY_LOG_LEVEL'] ??= 'warn'
    content = await openContentStore(dataPaths(platform.dataDirectory).content, { logger: createLogger('test') })
    source = mkdtempSync(join(tmpdir(), 'slipway-source-'))
    writeFileSync(join(source, 'index.js'), 'exports.main_handler = async () => 1')
    await platform.cli('deploy', source, '--name', 'pulled', '--memory', '256')
    await platform.cli(
      'deploy',
      '--image',
      'default/pulled',
      '--name',
      'brief',
      '--memory',
      '256',
      '--init-timeout',
      '3',
    )
  })
  afterEach(() => resume())
  afterAll(async () => {
    await content?.close()
    if (source !== undefined) rmSync(source, { recursive: true, force: true })
    await platform?.stop()
  })

  const call = async (name: string): Promise<Called> => (await platform.invoke(name, {})).body as unknown as Called
  const why = (requestId: string) => platform.cli<Explained>('why', requestId)
  const ledger = async () =>
    (await platform.cli<{ credentials: PullCredentialEntry[] }>('registry', 'credentials', 'list')).credentials
  const inForce = async () => (await ledger()).filter(({ endedAtMs }) => endedAtMs === null)
  /** No instance, and no byte of any image. */
  const evict = async (name: string, ...options: string[]): Promise<void> => {
    await platform.cli('instances', 'stop', name, ...options)
    await expect.poll(() => platform.instanceDirectories(), { timeout: 10_000 }).toEqual([])
    await content.collect({ maxBytes: 0, minAgeMs: 0 })
  }
  /** The registry answers nobody until `resume`. */
  const pause = (): void => signalRegistry('SIGSTOP')
  const resume = (): void => signalRegistry('SIGCONT')
  const signalRegistry = (signal: NodeJS.Signals): void => {
    const pid = platform.state()?.registry?.pid
    if (pid !== undefined) process.kill(pid, signal)
  }

  it('is shown by why within the phases of the start, and no other where nothing was fetched', async () => {
    await evict('pulled')
    const cold = await call('pulled')
    expect(cold).toMatchObject({ statusCode: 200, coldStart: { phases: { pull: expect.any(Number) } } })
    const explained = await why(cold.requestId)
    expect(explained).toMatchObject({
      number: { number: 200, name: 'Success' },
      credential: {
        id: cold.coldStart?.credential,
        namespace: 'default',
        repository: 'default/pulled',
        provider: 'local',
        bearers: 1,
        endReason: 'download ended',
        starts: [{ function: 'pulled', instance: expect.any(String), requestIds: [cold.requestId] }],
      },
    })
    const { stdout } = await platform.run('why', cold.requestId)
    expect(stdout).toMatch(/^event call of default\/pulled \$LATEST/)
    expect(stdout).toMatch(/\nended with 200 Success: The function answered\.\n/)
    for (const phase of ['queue', 'credential', 'pull', 'unpack', 'create', 'start', 'listen', 'function'])
      expect(stdout).toMatch(new RegExp(`\n${phase} +[0-9]`))
    expect(stdout).toContain(`credential ${cold.coldStart?.credential} (local), made `)

    const warm = await why((await call('pulled')).requestId)
    expect(warm).toMatchObject({ invocation: { coldStart: null }, credential: null })
    await platform.cli('instances', 'stop', 'pulled')
    const local = await call('pulled')
    expect(local.coldStart?.phases).not.toHaveProperty('pull')
    expect(await why(local.requestId)).toMatchObject({ credential: null })
    expect(await ledger()).not.toHaveLength(0)
    expect(await inForce()).toEqual([])
  })

  it('is in the memory of processes only that leave no core file', async () => {
    const { processes } = await platform.cli<{ processes: { role: string; pid: number }[] }>('status')
    const holders = processes.filter(({ role }) => role !== 'parent')
    expect(holders.map(({ role }) => role).toSorted()).toEqual(['registry', 'server', 'supervisor', 'worker'])
    for (const { pid } of holders)
      expect(readFileSync(`/proc/${pid}/limits`, 'utf8')).toMatch(/\nMax core file size +0 +0 /)
  })

  it('says of a call that waited for a busy instance how long it did', async () => {
    await platform.cli('deploy', '--image', 'default/pulled', '--name', 'single', '--max-instances', '1')
    const called = await Promise.all([call('single'), call('single'), call('single')])
    const explained = await Promise.all(called.map(({ requestId }) => why(requestId)))
    const queued = explained.filter(({ invocation }) => invocation.coldStart === null)
    expect(queued.length).toBeGreaterThan(0)
    for (const { invocation } of queued) expect(invocation.queueMs).toBeGreaterThan(0)
    await platform.cli('delete', 'single')
  })

  it('opens nothing to a namespace that lost its right: its function starts no more', async () => {
    await platform.cli('namespace', 'create', 'guest', '--pull', 'default/pulled')
    await platform.cli('deploy', '--image', 'default/pulled', '--name', 'borrowed', '--namespace', 'guest')
    const invoke = async () => {
      const { status, body } = await platform.invoke('borrowed', {}, undefined, 'guest')
      return { status, body: body as unknown as Called & { result: { errorMessage?: string } } }
    }
    expect((await invoke()).body.statusCode).toBe(200)
    await platform.cli('namespace', 'create', 'guest', '--pull', 'none')
    await platform.cli('instances', 'stop', 'borrowed', '--namespace', 'guest')
    const refused = await invoke()
    expect(refused).toMatchObject({ status: 503, body: { statusCode: 444 } })
    expect(refused.body.result.errorMessage).toContain('namespace guest may not run images of')
    await expect(
      platform.run('deploy', '--image', 'default/pulled', '--name', 'other', '--namespace', 'guest'),
    ).rejects.toThrow('image-not-allowed')
    await platform.cli('delete', 'borrowed', '--namespace', 'guest')
  })

  it('ended by command ends the download and the calls that wait for it at once', async () => {
    await evict('pulled')
    pause()
    const calling = call('pulled')
    await expect.poll(inForce, { timeout: 10_000 }).toHaveLength(1)
    const [credential] = await inForce()
    const endedMs = performance.now()
    await platform.cli('registry', 'credentials', 'end', credential?.id ?? '')
    const answer = await calling
    expect(answer).toMatchObject({ statusCode: 444, coldStart: { credential: credential?.id } })
    expect(performance.now() - endedMs).toBeLessThan(5_000)
    const { credential: kept } = await why(answer.requestId)
    expect(kept).toMatchObject({
      endReason: 'ended by admin',
      starts: [{ instance: null, requestIds: [answer.requestId] }],
    })
    await expect(platform.run('registry', 'credentials', 'end', credential?.id ?? '')).rejects.toThrow(
      'pull-credential-not-found',
    )
  })

  it('that does not suffice within initTimeout is 447', async () => {
    await evict('pulled')
    pause()
    const answer = await call('brief')
    expect(answer.statusCode).toBe(447)
    expect((await why(answer.requestId)).credential).toMatchObject({
      endReason: expect.stringMatching(/deadline|timeout/),
    })
  })

  it('outlives a server that is killed, as long as its download: then it has ended, and the image is local', async () => {
    await evict('pulled')
    pause()
    const calling = call('pulled').catch(() => undefined)
    await expect.poll(inForce, { timeout: 10_000 }).toHaveLength(1)
    const [credential] = await inForce()
    const server = platform.state()?.server?.pid ?? 0
    process.kill(server, 'SIGKILL')
    await calling
    await expect.poll(() => platform.isHealthy(), { timeout: 20_000 }).toBe(true)
    expect(platform.state()?.server?.pid).not.toBe(server)
    expect((await inForce()).map(({ id }) => id)).toEqual([credential?.id])
    resume()
    await expect.poll(inForce, { timeout: 20_000 }).toEqual([])
    expect((await ledger()).find(({ id }) => id === credential?.id)).toMatchObject({
      endReason: 'download ended',
      bearers: 1,
    })
    const next = await call('pulled')
    expect(next).toMatchObject({ statusCode: 200 })
    expect(next.coldStart).not.toHaveProperty('credential')
  })

  it('is dead at its deadline though the server was killed', async () => {
    await evict('pulled')
    pause()
    const calling = call('brief').catch(() => undefined)
    await expect.poll(inForce, { timeout: 2_500, interval: 50 }).toHaveLength(1)
    const [credential] = await inForce()
    process.kill(platform.state()?.server?.pid ?? 0, 'SIGKILL')
    await calling
    await expect.poll(() => platform.isHealthy(), { timeout: 20_000 }).toBe(true)
    await expect.poll(inForce, { timeout: 10_000 }).toEqual([])
    const kept = (await ledger()).find(({ id }) => id === credential?.id)
    expect(kept?.endedAtMs).toBeLessThanOrEqual((credential?.deadlineMs ?? 0) + 1_000)
  })
})
