import { cpSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { Platform, PROJECT } from '../helpers/platform.ts'

interface Invocation {
  requestId: string
  statusCode: number
  result: unknown
  durationMs: number
  memoryBytes: number
  coldStart: { totalMs: number; phases: Record<string, number> } | null
  logTail?: string
}

let platform: Platform
const directories: string[] = []
beforeAll(async () => {
  platform = await Platform.start('runc', { cold: true })
})
afterAll(async () => {
  for (const directory of directories) rmSync(directory, { recursive: true, force: true })
  await platform?.stop()
})

/** A function's source in a directory of its own. */
function source(files: Record<string, string>): string {
  const directory = mkdtempSync(join(tmpdir(), 'slipway-source-'))
  directories.push(directory)
  for (const [name, text] of Object.entries(files)) writeFileSync(join(directory, name), text)
  return directory
}

describe('the main path', () => {
  it('takes source to an answer and its output', async () => {
    const directory = mkdtempSync(join(tmpdir(), 'slipway-source-'))
    directories.push(directory)
    cpSync(join(PROJECT, 'samples/hello-node'), directory, { recursive: true })
    const deployed = await platform.cli<{ image: { digest: string } }>('deploy', directory, '--name', 'hello')
    expect(deployed.image.digest).toMatch(/^sha256:[0-9a-f]{64}$/)

    const first = await platform.cli<Invocation>('invoke', 'hello', '-d', '{"name":"Ada"}', '--tail')
    expect(first.statusCode).toBe(200)
    expect(JSON.stringify(first.result)).toContain('Ada')
    expect(first.coldStart?.phases).toMatchObject({
      pull: expect.any(Number),
      start: expect.any(Number),
      listen: expect.any(Number),
    })
    expect(first.memoryBytes).toBeGreaterThan(1_000_000)
    expect(first.logTail).not.toBe('')

    const second = await platform.cli<Invocation>('invoke', 'hello', '-d', '{"name":"Bob"}')
    expect(second.coldStart).toBeNull()

    const { stdout } = await platform.run('logs', 'hello', '-o', 'json')
    const lines = stdout
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as { requestId: string | null; stream: string; line: string })
    const own = lines.filter(({ requestId }) => requestId === first.requestId)
    expect(own.map(({ stream }) => stream)).toContain('stdout')
    expect(own.some(({ line }) => line.startsWith('START RequestId:'))).toBe(true)
    expect(own.some(({ line }) => line.startsWith('Report RequestId:'))).toBe(true)
  })

  it('gives the function the documented environment and headers, and nothing else', async () => {
    const directory = source({
      'index.js': `exports.main_handler = async (event, context) => ({ env: process.env, context, uid: process.getuid() })`,
    })
    await platform.cli(
      'deploy',
      directory,
      '--name',
      'inside',
      '--env',
      'COLOUR=blue',
      '--memory',
      '256',
      '--timeout',
      '7',
    )
    const { result, requestId } = await platform.cli<Invocation>('invoke', 'inside', '-d', '{}')
    const { env, context, uid } = result as {
      env: Record<string, string>
      context: Record<string, unknown>
      uid: number
    }
    expect(env).toMatchObject({
      COLOUR: 'blue',
      TENCENTCLOUD_RUNENV: 'SCF',
      USER_CODE_ROOT: '/var/user/',
      USER: 'qcloud',
      SCF_FUNCTIONNAME: 'inside',
      SCF_FUNCTIONVERSION: '$LATEST',
    })
    expect(Object.keys(env).filter((name) => /^(?:NODE_|DOCKER_|SLIPWAY_|npm_)/.test(name))).toEqual([])
    expect(uid).not.toBe(0)
    expect(context).toMatchObject({
      request_id: requestId,
      function_name: 'inside',
      memory_limit_in_mb: 256,
      time_limit_in_ms: 7_000,
    })
  })

  it('answers 430 with the stack of an exception', async () => {
    await platform.cli(
      'deploy',
      source({ 'index.js': `exports.main_handler = () => { throw new Error('boom') }` }),
      '--name',
      'throws',
    )
    const { status, body } = await platform.invoke('throws', {})
    expect(status).toBe(502)
    expect(body).toMatchObject({
      statusCode: 430,
      result: {
        errorCode: -1,
        errorMessage: 'user code exception caught',
        stackTrace: expect.stringContaining('Error: boom'),
      },
    })
  })

  it('stops the work at the deadline', async () => {
    const code = `
      const { appendFileSync } = require('node:fs')
      exports.main_handler = () => new Promise(() => { setInterval(() => console.log('still here'), 100) })`
    await platform.cli('deploy', source({ 'index.js': code }), '--name', 'slow', '--timeout', '1')
    const began = Date.now()
    const { status, body } = await platform.invoke('slow', {})
    expect(status).toBe(504)
    expect(body).toMatchObject({ statusCode: 433, result: { errorMessage: 'Invoking task timed out after 1 seconds' } })
    expect(Date.now() - began).toBeLessThan(10_000)
    await expect
      .poll(async () => (await platform.cli<{ instances: unknown[] }>('instances', 'list', 'slow')).instances, {
        timeout: 15_000,
      })
      .toEqual([])
  })

  it('tells an exit in the middle of a call from an exception', async () => {
    await platform.cli(
      'deploy',
      source({ 'index.js': `exports.main_handler = () => process.exit(3)` }),
      '--name',
      'exits',
    )
    const { body } = await platform.invoke('exits', {})
    expect(body).toMatchObject({ statusCode: 439, result: { errorMessage: expect.stringContaining('code 3') } })
  })

  it('tells out of memory', async () => {
    const code = `exports.main_handler = () => { const kept = []; for (;;) kept.push(Buffer.alloc(1 << 20, 1)) }`
    await platform.cli('deploy', source({ 'index.js': code }), '--name', 'eats', '--timeout', '30')
    const { body } = await platform.invoke('eats', {})
    expect(body['statusCode']).toBe(434)
  })

  it('pins the digest: a new push under the same tag changes nothing until it is deployed', async () => {
    const build = (text: string) =>
      platform.cli<{ image: string; digest: string }>(
        'build',
        source({ 'index.js': `exports.main_handler = () => '${text}'` }),
        '--name',
        'pinned',
        '--tag',
        'v1',
      )
    const one = await build('one')
    await platform.cli('deploy', '--image', `default/pinned:v1`, '--name', 'pinned')
    const two = await build('two')
    expect(two.digest).not.toBe(one.digest)
    expect((await platform.cli<Invocation>('invoke', 'pinned', '-d', '{}')).result).toBe('one')
    await platform.cli('deploy', '--image', `default/pinned:v1`, '--name', 'pinned')
    expect((await platform.cli<Invocation>('invoke', 'pinned', '-d', '{}')).result).toBe('two')
  })
})
