import { randomBytes } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { connect, type Socket } from 'node:net'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { Api } from '../helpers/api.ts'
import { Platform, PROJECT } from '../helpers/platform.ts'
import { sendRaw } from '../helpers/raw-http.ts'

const IMAGE = 'default/web'
const SOON = { timeout: 5_000, interval: 50 }
const MB = 1024 * 1024

let platform: Platform
let api: Api
beforeAll(async () => {
  platform = await Platform.start()
  api = new Api(platform)
  await platform.cli('build', join(PROJECT, 'test/fixtures/web'), '--name', 'web')
  await api.deploy('web', IMAGE, { type: 'web', timeout: 30 })
  const limits = { requestBytes: 1024 * MB, responseBytes: 1024 * MB, responseHeaderBytes: 8192 }
  await api.deploy('large', IMAGE, { type: 'web', timeout: 30, limits })
})
afterAll(() => platform?.stop())

const url = (name: string, path: string): string => `${platform.url}/web/default/${name}${path}`
const numberOf = async (response: Response): Promise<[number, string | null]> => {
  await response.arrayBuffer().catch(() => undefined)
  return [response.status, response.headers.get('x-slipway-status')]
}
const lastNumber = async (name: string): Promise<number> => (await api.records(name))[0]?.statusCode ?? 0
const head = (start: string, name: string, ...fields: string[]): string =>
  `${[start, `Host: ${name}.default.localhost`, ...fields].join('\r\n')}\r\n\r\n`

interface Echo {
  rawHeaders: string[]
}
const post = (name: string, path: string, body: Buffer, headers: Record<string, string> = {}): Promise<Response> =>
  fetch(url(name, path), { method: 'POST', body: new Uint8Array(body), headers })

describe('the limits of a web call', () => {
  it('let 6 MB in and out, and not a byte more, announced or not', async () => {
    const six = randomBytes(6 * MB)
    expect(Buffer.from(await (await post('web', '/pipe', six)).arrayBuffer()).equals(six)).toBe(true)
    const seven = Buffer.concat([six, Buffer.alloc(1)])
    expect(await numberOf(await post('web', '/', seven))).toEqual([413, '406'])
    const chunked = `${head('POST / HTTP/1.1', 'web', 'Connection: close', 'Transfer-Encoding: chunked')}${seven.length.toString(16)}\r\n${seven.toString('latin1')}\r\n0\r\n\r\n`
    expect(await sendRaw(platform.port, chunked, 10_000)).toMatch(/^HTTP\/1\.1 413 [^]*x-slipway-status: 406/i)
    expect((await (await fetch(url('web', `/sized-body?bytes=${6 * MB}`))).arrayBuffer()).byteLength).toBe(6 * MB)
    expect(await numberOf(await fetch(url('web', `/sized-body?bytes=${6 * MB + 1}`)))).toEqual([502, '407'])
    await expect(
      fetch(url('web', `/chunked-body?bytes=${6 * MB + 1}`)).then((one) => one.arrayBuffer()),
    ).rejects.toThrow()
    await expect.poll(() => lastNumber('web'), SOON).toBe(407)
  })

  it('let an answer have 4 KB of fields', async () => {
    expect((await fetch(url('web', '/header?bytes=3900'))).status).toBe(200)
    expect(await numberOf(await fetch(url('web', '/header?bytes=4096')))).toEqual([502, '407'])
    expect((await fetch(url('large', '/header?bytes=4096'))).status).toBe(200)
  })

  it('are the function’s to raise, as far as its namespace allows', async () => {
    const body = randomBytes(8 * MB)
    expect(Buffer.from(await (await post('large', '/pipe', body)).arrayBuffer()).equals(body)).toBe(true)
    const limits = { requestBytes: 2 * 1024 * MB }
    await expect(api.deploy('large', IMAGE, { type: 'web', limits })).rejects.toThrow(
      'at most 1073741824 in this namespace',
    )
    await expect(api.deploy('event', IMAGE, { type: 'event', limits: { requestBytes: 1 } })).rejects.toThrow(
      'for web functions',
    )
  })
})

describe('a stream', () => {
  it('of events arrives event by event', async () => {
    const response = await fetch(url('web', '/events'))
    const delays: number[] = []
    for await (const chunk of response.body ?? []) {
      const [, sentMs = '0'] = /^data: (\d+)/.exec(Buffer.from(chunk).toString()) ?? []
      delays.push(Date.now() - Number(sentMs))
      if (delays.length === 5) break
    }
    expect(Math.min(...delays)).toBeLessThan(50)
    expect(Math.max(...delays)).toBeLessThan(500)
  })

  it('goes up while the answer comes down', async () => {
    const bytes = randomBytes(6 * MB)
    const socket = connect(platform.port, '127.0.0.1')
    let received = 0
    socket.on('data', (chunk) => {
      received += chunk.length
    })
    socket.write(head('POST /pipe HTTP/1.1', 'large', `Content-Length: ${bytes.length}`))
    for (let at = 0; at < bytes.length; at += MB) {
      socket.write(bytes.subarray(at, at + MB))
      await expect.poll(() => received, SOON).toBeGreaterThan(at + MB)
    }
    socket.destroy()
  })

  it('that nobody reads holds the function, not the memory of the platform', async () => {
    const before = serverMb()
    const socket = connect(platform.port, '127.0.0.1').pause()
    socket.on('error', () => undefined).write(head('GET /flood HTTP/1.1', 'large'))
    const sent = async (): Promise<number[]> =>
      (await api.log('large')).filter((line) => line.startsWith('sent ')).map((line) => Number(line.slice(5)))
    await expect.poll(async () => (await sent()).length, SOON).toBeGreaterThan(5)
    const marks = (await sent()).slice(-3)
    expect(new Set(marks).size).toBe(1)
    expect(marks[0]).toBeLessThan(32 * MB)
    expect(serverMb() - before).toBeLessThan(16)
    socket.destroy()
  })

  it('that the function does not take holds the caller, not the memory of the platform', async () => {
    const before = serverMb()
    const socket = connect(platform.port, '127.0.0.1')
    socket.on('error', () => undefined).write(head('POST /idle HTTP/1.1', 'large', `Content-Length: ${512 * MB}`))
    const block = Buffer.alloc(MB)
    for (let n = 0; n < 512 && socket.writableLength < 2 * MB; n += 1) {
      socket.write(block)
      await sleep(5)
    }
    await sleep(500)
    expect(socket.bytesWritten - socket.writableLength).toBeLessThan(32 * MB)
    expect(socket.writableLength).toBeGreaterThan(0)
    expect(serverMb() - before).toBeLessThan(16)
    socket.destroy()
  })

  it('that ends with its connection ends cleanly only where the function ended it', async () => {
    const ended = await sendRaw(platform.port, head('GET /ends-unframed HTTP/1.1', 'web', 'Connection: close'), 10_000)
    expect(ended).toMatch(/\r\n\r\n4\r\nhalf\r\n0\r\n\r\n$/)
    const reset = await sendRaw(
      platform.port,
      head('GET /resets-unframed HTTP/1.1', 'web', 'Connection: close'),
      10_000,
    )
    expect(reset).toMatch(/\r\n\r\n4\r\nhalf\r\n$/)
    await expect.poll(() => lastNumber('web'), SOON).toBe(430)
  })

  /** Of the server's process, in MB: what is its own. */
  function serverMb(): number {
    const pid = platform.state()?.server?.pid ?? 0
    return Number(/^RssAnon:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? 0) / 1024
  }
})

describe('a connection that the function ends', () => {
  const countOf = async (name: string, path: string): Promise<number> =>
    ((await (await fetch(url(name, '/counts'))).json()) as Record<string, number>)[path] ?? 0

  it('at once after each answer, without a word, costs no call', async () => {
    await api.deploy('closes', IMAGE, { type: 'web', timeout: 30, concurrency: 10, maxInstances: 1 })
    const calls = async (): Promise<void> => {
      for (let n = 0; n < 50; n += 1) {
        const response = await post('closes', '/closes', Buffer.from('x'))
        expect([response.status, await response.text()]).toEqual([200, 'ok'])
      }
    }
    await Promise.all(Array.from({ length: 8 }, calls))
    expect(await countOf('closes', '/closes')).toBe(400)
  })

  it('without an answer to a POST is not tried again', async () => {
    await api.deploy('resets', IMAGE, { type: 'web', timeout: 30, concurrency: 10, maxInstances: 1 })
    for (const times of [1, 2, 3]) {
      // A connection that was used before, which is when one might be tempted.
      await (await post('resets', '/', Buffer.from('x'))).arrayBuffer()
      expect(await numberOf(await post('resets', '/resets', Buffer.from('x')))).toEqual([502, '430'])
      expect(await countOf('resets', '/resets')).toBe(times)
    }
  })
})

describe('a web function', () => {
  it('sees who called it, how, and by which trace, and none of our names from a caller', async () => {
    const traceparent = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01'
    const sent = {
      traceparent,
      tracestate: 'a=1',
      forwarded: 'for=1.2.3.4',
      'x-forwarded-for': '1.2.3.4',
      'x-forwarded-proto': 'ftp',
      'x-scf-request-id': 'forged',
      'x-request-id': 'mine',
    }
    const response = await fetch(url('web', '/who?a=b'), { headers: sent })
    const { rawHeaders } = (await response.json()) as Echo
    const value = (name: string): string[] =>
      rawHeaders.filter((_, at) => at % 2 === 1 && rawHeaders[at - 1]?.toLowerCase() === name)
    const host = `127.0.0.1:${platform.port}`
    expect(Object.fromEntries(Object.keys(sent).map((name) => [name, value(name)]))).toEqual({
      traceparent: [traceparent],
      tracestate: ['a=1'],
      forwarded: [`for=1.2.3.4, for=127.0.0.1;host="${host}";proto=http`],
      'x-forwarded-for': ['1.2.3.4, 127.0.0.1'],
      'x-forwarded-proto': ['http'],
      'x-scf-request-id': [response.headers.get('x-request-id')],
      'x-request-id': ['mine'],
    })
    expect(value('x-forwarded-prefix')).toEqual(['/web/default/web'])
    expect(value('x-forwarded-host')).toEqual([host])
  })

  it('with auth: token is called with a token alone, which it does not see', async () => {
    await api.deploy('closed', IMAGE, { type: 'web', timeout: 30, auth: 'token' })
    const call = (headers: Record<string, string>): Promise<Response> => fetch(url('closed', '/'), { headers })
    expect(await numberOf(await call({}))).toEqual([401, '401'])
    expect(await numberOf(await call({ 'x-slipway-token': 'wrong' }))).toEqual([401, '401'])
    expect(await numberOf(await call({ authorization: `Bearer ${platform.token}` }))).toEqual([401, '401'])
    const answer = await call({ 'x-slipway-token': platform.token, authorization: 'Basic mine' })
    const { rawHeaders } = (await answer.json()) as Echo
    expect(rawHeaders).toContain('Basic mine')
    expect(JSON.stringify(rawHeaders)).not.toContain(platform.token)
    const upgrade = [
      'Connection: Upgrade',
      'Upgrade: websocket',
      `Sec-WebSocket-Key: ${randomBytes(16).toString('base64')}`,
    ]
    const request = (...more: string[]): string => head('GET /socket HTTP/1.1', 'closed', ...upgrade, ...more)
    expect(await sendRaw(platform.port, request(), 10_000)).toMatch(/^HTTP\/1\.1 401 /)
    const socket = connect(platform.port, '127.0.0.1')
    socket.write(request(`X-Slipway-Token: ${platform.token}`))
    expect(await firstOf(socket)).toMatch(/^HTTP\/1\.1 101 /)
    socket.destroy()
  })
})

function firstOf(socket: Socket): Promise<string> {
  return new Promise((resolve, reject) => {
    socket.once('data', (chunk) => resolve(chunk.toString('latin1')))
    socket.once('error', reject)
  })
}
