import { spawn } from 'node:child_process'
import { mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { digest, type RunningControlPlane, startControlPlane, TOKEN } from '../helpers/control-plane.ts'

const SLIPWAY = fileURLToPath(new URL('../../slipway', import.meta.url))
let plane: RunningControlPlane
let scratch: string

beforeAll(async () => {
  plane = await startControlPlane()
  scratch = mkdtempSync(join(tmpdir(), 'slipway-cli-'))
})
afterAll(async () => {
  await plane.close()
  rmSync(scratch, { recursive: true })
})

interface Ended {
  code: number | null
  stdout: string
  stderr: string
}

/** The command as a user runs it: the shell script, against a running API. */
async function slipway(
  args: string[],
  over: { stdin?: string; env?: Record<string, string>; file?: string } = {},
): Promise<Ended> {
  const env = {
    PATH: process.env['PATH'] ?? '',
    HOME: scratch,
    SLIPWAY_SERVER: plane.url,
    SLIPWAY_TOKEN: TOKEN,
    ...over.env,
  }
  const child = spawn(over.file ?? SLIPWAY, args, { env, timeout: 20_000 })
  const ended: Ended = { code: null, stdout: '', stderr: '' }
  child.stdout.setEncoding('utf8').on('data', (text: string) => (ended.stdout += text))
  child.stderr.setEncoding('utf8').on('data', (text: string) => (ended.stderr += text))
  child.stdin.end(over.stdin ?? '')
  return new Promise((resolve) => child.once('close', (code) => resolve({ ...ended, code })))
}

const json = (ended: Ended): unknown => {
  expect(ended.stdout.trimEnd().split('\n'), ended.stderr).toHaveLength(1)
  return JSON.parse(ended.stdout)
}

describe('slipway', () => {
  test('deploys an image by digest and says how to call it', async () => {
    const ended = await slipway([
      'deploy',
      '--image',
      'default/hello',
      '--memory',
      '256',
      '-e',
      'A=1',
      '--args=-u app.py',
    ])
    expect(ended.code, ended.stderr).toBe(0)
    expect(ended.stdout).toContain(`127.0.0.1:5000/default/hello:latest@${digest('latest')}`)
    expect(ended.stderr).toMatch(/^next: slipway invoke hello /m)
  })

  test('keeps settings when only the image is deployed again', async () => {
    const view = json(await slipway(['deploy', '--image', 'default/hello', '--timeout', '5', '-o', 'json']))
    expect(view).toMatchObject({
      name: 'hello',
      settings: { memory: 256, timeout: 5, env: { A: '1' }, args: ['-u', 'app.py'] },
    })
  })

  test('invokes with an event from the command line, a file and stdin', async () => {
    const file = join(scratch, 'event.json')
    writeFileSync(file, '{"from":"file"}')
    expect(json(await slipway(['invoke', 'hello', '-d', '{"a":1}', '-o', 'json']))).toMatchObject({
      statusCode: 200,
      result: { a: 1 },
      coldStart: null,
    })
    expect((await slipway(['invoke', 'hello', '-d', `@${file}`])).stdout).toContain('"from": "file"')
    const tailed = await slipway(['invoke', 'hello', '-d', '-', '--tail'], { stdin: '"text"' })
    expect(tailed.stdout).toBe('text\n')
    expect(tailed.stderr).toMatch(/^said\n200, /)
  })

  test('ends with 9 when the function fails, and still prints the result', async () => {
    plane.runtime.nextResult = { statusCode: 430, result: { errorMessage: 'boom' } }
    const ended = await slipway(['invoke', 'hello', '-o', 'json'])
    expect(ended.code).toBe(9)
    expect(json(ended)).toMatchObject({ statusCode: 430, result: { errorMessage: 'boom' } })
  })

  test.each([
    [['get', 'absent'], 5, 'function-not-found'],
    [['deploy', '--image', 'default/hello:absent'], 5, 'image-not-found'],
    [['deploy', '--image', 'default/hello', '--memory', '100'], 3, 'settings-invalid'],
    [['deploy'], 2, 'usage'],
    [['deploy', 'a', '--image', 'b'], 2, 'usage'],
    [['logs', 'hello', '--since', 'x'], 2, 'usage'],
    [['nonsense'], 2, 'usage'],
    [['list', '--nope'], 2, 'usage'],
  ])('%j ends with %i', async (args, code, error) => {
    const ended = await slipway([...args, '-o', 'json'])
    expect(ended.code).toBe(code)
    expect(ended.stdout).toBe('')
    expect(JSON.parse(ended.stderr)).toMatchObject({ error: { code: error } })
  })

  test('tells an unknown token and an absent platform apart', async () => {
    expect(await slipway(['list'], { env: { SLIPWAY_TOKEN: 'wrong' } })).toMatchObject({ code: 4 })
    const down = await slipway(['status'], { env: { SLIPWAY_SERVER: 'http://127.0.0.1:1' } })
    expect(down.code).toBe(7)
    expect(down.stderr).toMatch(
      /^slipway: no platform answers at http:\/\/127\.0\.0\.1:1: connection refused .*\n {2}start it with "slipway up"/,
    )
  })

  test('prints log lines, one JSON object each with -o json, and ends a follow at Ctrl-C', async () => {
    expect((await slipway(['logs', 'hello', '--since', '5m'])).stdout).toBe('2026-01-01T00:00:00.000Z first\n')
    expect(plane.logQueries.at(-1)?.sinceMs).toBeGreaterThan(Date.now() - 310_000)
    expect(json(await slipway(['logs', 'hello', '-o', 'json']))).toMatchObject({ line: 'first', stream: 'stdout' })
    const env = { PATH: process.env['PATH'], SLIPWAY_SERVER: plane.url, SLIPWAY_TOKEN: TOKEN }
    const child = spawn(SLIPWAY, ['logs', 'hello', '--follow'], { env, stdio: ['ignore', 'pipe', 'inherit'] })
    await new Promise((resolve) => child.stdout.once('data', resolve))
    child.kill('SIGINT')
    expect(await new Promise((resolve) => child.once('close', resolve))).toBe(0)
  })

  test('lists, gets, stops and deletes', async () => {
    expect((await slipway(['list'])).stdout).toMatch(/^NAME +TYPE .*\nhello +event /)
    expect(json(await slipway(['get', 'hello', '-o', 'json']))).toMatchObject({ name: 'hello' })
    plane.runtime.instanceViews = [
      {
        id: '0123456789abcdef',
        version: '$LATEST',
        state: 'ready',
        ageMs: 1,
        memoryBytes: 2,
        calls: 3,
        reason: 'call',
      },
    ]
    expect((await slipway(['instances', 'list', 'hello'])).stdout).toContain('0123456789abcdef  ready')
    expect(json(await slipway(['instances', 'stop', 'hello', '0123456789abcdef', '-o', 'json']))).toEqual({
      stopped: 1,
    })
    expect(json(await slipway(['delete', 'hello', '-o', 'json']))).toMatchObject({ name: 'hello' })
    expect((await slipway(['get', 'hello'])).code).toBe(5)
  })

  test('manages registry users and namespaces', async () => {
    expect(
      json(await slipway(['registry', 'user', 'add', 'ci', '--allow', 'pull,push:default/*', '-o', 'json'])),
    ).toEqual({
      username: 'ci',
      password: 'shown-once',
    })
    expect((await slipway(['registry', 'user', 'rights', 'ci', '--allow', 'pull:*'])).stdout).toBe('ci may pull:*\n')
    expect((await slipway(['registry', 'user', 'list'])).stdout).toBe('NAME  RIGHTS\nci    pull:*\n')
    expect((await slipway(['registry', 'user', 'revoke', 'ci'])).code).toBe(0)
    expect(json(await slipway(['namespace', 'create', 'team', '--max-env', '8192', '-o', 'json']))).toMatchObject({
      name: 'team',
      maxEnvBytes: 8192,
    })
    expect((await slipway(['namespace', 'list'])).stdout).toMatch(/\nteam +8192 bytes/)
    expect((await slipway(['namespace', 'delete', 'team'])).code).toBe(0)
  })

  test('shows the platform’s state', async () => {
    expect(json(await slipway(['status', '-o', 'json']))).toMatchObject({ version: '0.0.0-test', ready: true })
  })

  test('works through a link, from anywhere', async () => {
    const link = join(scratch, 'slipway-link')
    symlinkSync(SLIPWAY, link)
    symlinkSync('slipway-link', join(scratch, 'second-link'))
    expect((await slipway(['version'], { file: join(scratch, 'second-link') })).stdout).toMatch(/^\d+\.\d+\.\d+\n$/)
  })
})
