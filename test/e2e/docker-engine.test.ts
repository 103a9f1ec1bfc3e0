import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { requireDocker, startTestDockerd, type TestDockerd } from '../helpers/dockerd.ts'
import { Platform } from '../helpers/platform.ts'
import { secretsUnder } from '../helpers/secret-search.ts'

const canRun = await requireDocker()

describe.skipIf(!canRun)('the platform on a Docker Engine', () => {
  let dockerd: TestDockerd
  let platform: Platform
  let directory: string
  beforeAll(async () => {
    dockerd = await startTestDockerd()
    platform = await Platform.start('docker', { environment: { DOCKER_HOST: `unix://${dockerd.socketPath}` } })
    directory = mkdtempSync(join(tmpdir(), 'slipway-source-'))
    writeFileSync(
      join(directory, 'index.js'),
      `let calls = 0
       exports.main_handler = async (event) => {
         console.log('said', event.text)
         if (event.exit) process.exit(event.exit)
         if (event.waitMs) await new Promise((resolve) => setTimeout(resolve, event.waitMs))
         return { calls: ++calls, text: event.text }
       }`,
    )
    await platform.cli('deploy', directory, '--name', 'spoken', '--timeout', '2', '--memory', '256')
  })
  afterAll(async () => {
    if (directory !== undefined) rmSync(directory, { recursive: true, force: true })
    await platform?.stop()
    await dockerd?.close()
  })

  it('pulls by digest with a credential of its own, answers, and shows the output', async () => {
    const first = await platform.cli<{ result: unknown; requestId: string; coldStart: { phases: object } | null }>(
      'invoke',
      'spoken',
      '-d',
      '{"text":"aloud"}',
    )
    expect(first.result).toEqual({ calls: 1, text: 'aloud' })
    expect(first.coldStart?.phases).toMatchObject({ credential: expect.any(Number), pull: expect.any(Number) })
    const { stdout } = await platform.run('logs', 'spoken', '--request-id', first.requestId, '-o', 'json')
    expect(stdout).toContain('said aloud')
    expect(await platform.cli('why', first.requestId)).toMatchObject({
      credential: { repository: 'default/spoken', provider: 'local', endReason: 'download ended', starts: [{}] },
    })
  })

  it('gives up a pull at once when its credential is ended by command, which the Engine alone would not', async () => {
    const unseen = mkdtempSync(join(tmpdir(), 'slipway-source-'))
    writeFileSync(join(unseen, 'index.js'), `exports.main_handler = async () => '${unseen}'`)
    await platform.cli('deploy', unseen, '--name', 'unseen')
    rmSync(unseen, { recursive: true, force: true })
    const registry = platform.state()?.registry?.pid ?? 0
    const inForce = async () =>
      (
        await platform.cli<{ credentials: { id: string; endedAtMs: number | null }[] }>(
          'registry',
          'credentials',
          'list',
        )
      ).credentials.filter(({ endedAtMs }) => endedAtMs === null)
    process.kill(registry, 'SIGSTOP')
    try {
      const calling = platform.invoke('unseen', {})
      await expect.poll(inForce, { timeout: 10_000 }).toHaveLength(1)
      const [credential] = await inForce()
      const endedMs = performance.now()
      await platform.cli('registry', 'credentials', 'end', credential?.id ?? '')
      expect((await calling).body).toMatchObject({ statusCode: 444 })
      expect(performance.now() - endedMs).toBeLessThan(5_000)
    } finally {
      process.kill(registry, 'SIGCONT')
    }
    expect((await platform.invoke('unseen', {})).body['statusCode']).toBe(200)
  })

  it('leaves no credential in the files of the Engine', () => {
    // The machine's own Engine has files of others.
    if (dockerd.daemon !== undefined) expect(secretsUnder(dirname(dockerd.socketPath))).toEqual([])
  })

  it('keeps the instance when supervisor and server are killed', async () => {
    const state = platform.state()
    for (const pid of [state?.supervisor.pid, state?.server?.pid]) if (pid !== undefined) process.kill(pid, 'SIGKILL')
    const next = async (): Promise<unknown> => {
      try {
        return (await platform.invoke('spoken', { text: 'again' })).body['result']
      } catch {
        return undefined
      }
    }
    await expect.poll(next, { timeout: 20_000, interval: 200 }).toEqual({ calls: 2, text: 'again' })
  })

  it('stops the work at the deadline and tells an exit', async () => {
    expect((await platform.invoke('spoken', { waitMs: 60_000 })).body['statusCode']).toBe(433)
    expect((await platform.invoke('spoken', { exit: 3 })).body).toMatchObject({
      statusCode: 439,
      result: { errorMessage: expect.stringContaining('code 3') },
    })
  })
})
