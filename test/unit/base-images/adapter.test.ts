import { type ChildProcess, spawn } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { request } from 'node:http'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { freePort } from '../../helpers/registry.ts'

const ADAPTER = join(import.meta.dirname, '../../../base-images/node/adapter/server.mjs')

interface Running {
  child: ChildProcess
  port: number
  stderr(): string
  exited: Promise<number | null>
}

interface Failure {
  errorCode: number
  errorMessage: string
  requestId?: string
  stackTrace: string
  statusCode: number
}

let root: string
const running: Running[] = []

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'slipway-adapter-'))
})
afterEach(async () => {
  for (const { child, exited } of running.splice(0)) {
    child.kill('SIGKILL')
    await exited
  }
  rmSync(root, { recursive: true })
})

async function start(files: Record<string, string>, handler = 'index.main_handler'): Promise<Running> {
  for (const [path, text] of Object.entries(files)) {
    mkdirSync(dirname(join(root, path)), { recursive: true })
    writeFileSync(join(root, path), text)
  }
  const port = await freePort()
  const child = spawn(process.execPath, [ADAPTER, handler, 'scf', String(port)], {
    stdio: ['ignore', 'ignore', 'pipe'],
    env: { USER_CODE_ROOT: root },
  })
  let stderr = ''
  child.stderr?.on('data', (chunk: Buffer) => {
    stderr += chunk.toString('utf8')
  })
  const exited = new Promise<number | null>((resolve) => child.once('exit', resolve))
  const started = { child, port, exited, stderr: () => stderr }
  running.push(started)
  for (let attempt = 0; attempt < 200; attempt += 1) {
    const answer = await fetch(`http://127.0.0.1:${port}/`).catch(() => undefined)
    await answer?.arrayBuffer()
    if (answer !== undefined || child.exitCode !== null) return started
    await sleep(20)
  }
  throw new Error(`the adapter does not listen: ${stderr}`)
}

async function invoke({ port }: Running, event: unknown, headers: Record<string, string> = {}) {
  const body = typeof event === 'string' ? event : JSON.stringify(event)
  const answer = await fetch(`http://127.0.0.1:${port}/event-invoke`, { method: 'POST', body, headers })
  return {
    status: answer.status,
    value: await answer.json(),
    connection: answer.headers.get('connection'),
  }
}

const failure = (value: unknown): Failure => value as Failure

describe('a handler', () => {
  it.each([
    ['CommonJS', { 'index.js': 'exports.main_handler = (event) => ({ got: event })' }],
    ['an ES module', { 'index.mjs': 'export const main_handler = async (event) => ({ got: event })' }],
    [
      'an ES module with a top-level await',
      { 'index.mjs': 'await 0\nexport const main_handler = (event) => ({ got: event })' },
    ],
    [
      'an ES module by package.json',
      { 'index.js': 'export const main_handler = (event) => ({ got: event })', 'package.json': '{"type":"module"}' },
    ],
    ['TypeScript', { 'index.ts': 'export const main_handler = (event: object): object => ({ got: event })' }],
    ['a default export', { 'index.mjs': 'export default { main_handler: (event) => ({ got: event }) }' }],
  ])('may be %s', async (_title, files) => {
    const adapter = await start(files)
    expect(await invoke(adapter, { a: 1 })).toMatchObject({ status: 200, value: { got: { a: 1 } } })
  })

  it('may lie in a folder', async () => {
    const adapter = await start({ 'src/app.js': 'exports.run = () => "ok"' }, 'src/app.run')
    expect(await invoke(adapter, {})).toMatchObject({ status: 200, value: 'ok' })
  })

  it('may answer by callback, by value or not at all', async () => {
    const adapter = await start({
      'index.js': `exports.main_handler = (event, context, callback) => {
        if (event === 'later') setTimeout(() => callback(null, 'called back'), 5)
        else if (event === 'fail') callback(new Error('by callback'))
        else return event
      }`,
    })
    expect((await invoke(adapter, '"later"')).value).toBe('called back')
    expect((await invoke(adapter, '7')).value).toBe(7)
    expect(failure((await invoke(adapter, '"fail"')).value).stackTrace).toMatch(/^Error: by callback\n {4}at /)
    const silent = await start({ 'none.js': 'exports.run = (event) => {}' }, 'none.run')
    expect((await invoke(silent, {})).value).toBeNull()
  })

  it('gets a context made of the call’s headers', async () => {
    const adapter = await start({ 'index.js': 'exports.main_handler = async (event, context) => context' })
    const headers = {
      'X-Scf-Request-Id': 'r-1',
      'X-Scf-Name': 'hello',
      'X-Scf-Version': '$LATEST',
      'X-Scf-Namespace': 'shop',
      'X-Scf-Memory': '128',
      'X-Scf-Timeout': '3000',
      'X-Scf-Region': 'here',
      'X-Scf-Appid': '12',
      'X-Scf-Uin': '34',
    }
    expect((await invoke(adapter, {}, headers)).value).toEqual({
      request_id: 'r-1',
      function_name: 'hello',
      function_version: '$LATEST',
      namespace: 'shop',
      memory_limit_in_mb: 128,
      time_limit_in_ms: 3000,
      environment: '{"SCF_NAMESPACE":"shop"}',
      environ: 'SCF_NAMESPACE=shop;',
      tencentcloud_region: 'here',
      tencentcloud_appid: '12',
      tencentcloud_uin: '34',
      callbackWaitsForEmptyEventLoop: true,
    })
  })

  it('serves calls at the same time', async () => {
    const adapter = await start({
      'index.js': `let waiting = []
      exports.main_handler = (event) => new Promise((resolve) => {
        waiting.push(() => resolve(event))
        if (waiting.length === 3) for (const go of waiting) go()
      })`,
    })
    const answers = await Promise.all([1, 2, 3].map((event) => invoke(adapter, event)))
    expect(answers.map(({ value }) => value)).toEqual([1, 2, 3])
  })
})

describe('a call that fails', () => {
  it('answers an exception as 430 with its stack, prints it, and serves the next call', async () => {
    const adapter = await start({
      'index.js': 'exports.main_handler = async (event) => { if (event.bad) throw new TypeError("no good"); return 1 }',
    })
    const { status, value } = await invoke(adapter, { bad: true }, { 'x-scf-request-id': 'r-2' })
    expect(status).toBe(500)
    expect(value).toEqual({
      errorCode: -1,
      errorMessage: 'user code exception caught',
      requestId: 'r-2',
      stackTrace: expect.stringMatching(/^TypeError: no good\n {4}at .*index\.js:1/),
      statusCode: 430,
    })
    await expect.poll(() => adapter.stderr()).toContain('TypeError: no good')
    expect((await invoke(adapter, {})).value).toBe(1)
  })

  it.each([
    ['a value that JSON cannot hold', 'exports.main_handler = () => 1n', /BigInt/],
    ['a thrown text', 'exports.main_handler = () => { throw "plain" }', /^plain$/],
    ['a rejection with nothing', 'exports.main_handler = () => Promise.reject()', /^undefined$/],
  ])('is %s', async (_title, text, stack) => {
    const { status, value } = await invoke(await start({ 'index.js': text }), {})
    expect({ status, number: failure(value).statusCode }).toEqual({ status: 500, number: 430 })
    expect(failure(value).stackTrace).toMatch(stack)
  })

  it('says that an event is not JSON', async () => {
    const adapter = await start({ 'index.js': 'exports.main_handler = () => 1' })
    expect((await invoke(adapter, '{"a"')).value).toMatchObject({
      statusCode: 400,
      errorMessage: expect.stringMatching(/^event is not JSON: /),
    })
  })

  it.each([
    ['that has no such function', { 'index.js': 'exports.other = 1' }, 437, /exports no function "main_handler"/],
    ['that is not there', { 'other.js': '' }, 437, /there is no .*index\.js/],
    ['that cannot be parsed', { 'index.mjs': 'export const = 1' }, 443, /loading .*index\.mjs failed/],
    ['that misses a module', { 'index.js': 'require("not-here")' }, 443, /Cannot find module 'not-here'/],
  ])('for a handler %s is answered once, then the process makes room', async (_title, files, number, message) => {
    const adapter = await start(files)
    const { status, value } = await invoke(adapter, {})
    expect({ status, number: failure(value).statusCode }).toEqual({ status: 500, number })
    expect(failure(value).errorMessage).toMatch(message)
    expect(await adapter.exited).toBe(1)
    await expect.poll(() => adapter.stderr()).not.toBe('')
  })

  it('is any other path or method: 404', async () => {
    const adapter = await start({ 'index.js': 'exports.main_handler = () => 1' })
    expect((await fetch(`http://127.0.0.1:${adapter.port}/event-invoke`)).status).toBe(404)
    expect((await fetch(`http://127.0.0.1:${adapter.port}/x`, { method: 'POST', body: 'x' })).status).toBe(404)
  })
})

describe('SIGTERM', () => {
  it('lets the call in flight be answered, closes its connection and ends with 0', async () => {
    const adapter = await start({
      'index.js': 'exports.main_handler = () => new Promise((resolve) => setTimeout(resolve, 300, "done"))',
    })
    const answer = invoke(adapter, {})
    await sleep(100)
    adapter.child.kill('SIGTERM')
    expect(await answer).toMatchObject({ status: 200, value: 'done', connection: 'close' })
    expect(await adapter.exited).toBe(0)
  })

  it('ends an idle server with an open kept-alive connection at once', async () => {
    const adapter = await start({ 'index.js': 'exports.main_handler = () => 1' })
    const idle = request({ port: adapter.port, path: '/event-invoke', method: 'POST', agent: undefined })
    idle.end('{}')
    await new Promise<void>((resolve) =>
      idle.once('response', (response) => response.resume().once('end', () => resolve())),
    )
    const startedMs = performance.now()
    adapter.child.kill('SIGTERM')
    expect(await adapter.exited).toBe(0)
    expect(performance.now() - startedMs).toBeLessThan(5000)
  })
})
