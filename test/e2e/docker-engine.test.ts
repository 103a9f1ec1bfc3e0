import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { requireDocker, startTestDockerd, type TestDockerd } from '../helpers/dockerd.ts'
import { Platform } from '../helpers/platform.ts'

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
