import { createHash, randomBytes } from 'node:crypto'
import { connect, type Socket } from 'node:net'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { execa } from 'execa'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { Api } from '../helpers/api.ts'
import { Platform, PROJECT } from '../helpers/platform.ts'
import { sendRaw } from '../helpers/raw-http.ts'

const IMAGE = 'default/web'
const SOON = { timeout: 5_000, interval: 50 }

interface Events {
  open: Event
  message: MessageEvent
  close: CloseEvent
}

interface Echo {
  method: string
  url: string
  rawHeaders: string[]
  rawTrailers: string[]
  bytes: number
  sha256: string
}

let platform: Platform
let api: Api
beforeAll(async () => {
  platform = await Platform.start()
  api = new Api(platform)
  await platform.cli('build', join(PROJECT, 'test/fixtures/web'), '--name', 'web')
  await api.deploy('web', IMAGE, { type: 'web', timeout: 30 })
  await api.deploy('sockets', IMAGE, { type: 'web', timeout: 30, concurrency: 10 })
})
afterAll(() => platform?.stop())

/** The record of the call that went last. */
async function lastRecord(
  name: string,
): Promise<{ statusCode: number; errorMessage: string | null; requestId: string }> {
  const response = await api.request('GET', `/v1/namespaces/default/functions/${name}/invocations?limit=1`)
  const { invocations } = (await response.json()) as { invocations: Awaited<ReturnType<typeof lastRecord>>[] }
  return invocations[0] ?? { statusCode: 0, errorMessage: null, requestId: '' }
}
const lastNumber = async (name: string): Promise<number> => (await lastRecord(name)).statusCode

const head = (start: string, name: string, ...fields: string[]): string =>
  `${[start, `Host: ${name}.default.localhost`, ...fields].join('\r\n')}\r\n\r\n`
const raw = (start: string, ...fields: string[]): Promise<string> =>
  sendRaw(platform.port, head(start, 'web', 'Connection: close', ...fields), 10_000)
const bodyOf = (answer: string): string => answer.slice(answer.indexOf('\r\n\r\n') + 4)

describe('an answer of a web function', () => {
  it('to HEAD keeps its length and has no body', async () => {
    const answer = await raw('HEAD /sized HTTP/1.1')
    expect(answer).toMatch(/^HTTP\/1\.1 200 OK\r\ncontent-length: 5\r\n/i)
    expect(bodyOf(answer)).toBe('')
  })

  it.each([204, 304])('of status %i has no body and no length', async (status) => {
    const answer = await raw(`GET /${status} HTTP/1.1`)
    expect(answer).toMatch(new RegExp(`^HTTP/1\\.1 ${status} `))
    expect(answer).not.toMatch(/content-length|transfer-encoding/i)
    expect(bodyOf(answer)).toBe('')
  })

  it('keeps its length: nothing is chunked that was not', async () => {
    const answer = await raw('GET /sized HTTP/1.1')
    expect(answer).toMatch(/content-length: 5\r\n/i)
    expect(answer).not.toMatch(/transfer-encoding/i)
    expect(bodyOf(answer)).toBe('12345')
  })

  it('keeps its trailers and repeated fields, but for names that are ours', async () => {
    const answer = await raw('GET /trailers HTTP/1.1')
    expect(answer).toMatch(/trailer: X-Sum\r\n[^]*set-cookie: a=1\r\nset-cookie: b=2\r\n/i)
    expect(bodyOf(answer)).toBe('4\r\nbody\r\n0\r\nX-Sum: 42\r\n\r\n')
  })

  it('after early hints is the final one: they go before it, but not to HTTP/1.0', async () => {
    const hints = 'HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\n'
    const answer = await raw('GET /hints HTTP/1.1')
    expect(answer.slice(0, hints.length)).toBe(hints)
    expect(answer.slice(hints.length)).toMatch(/^HTTP\/1\.1 200 OK\r\n[^]*\r\n\r\nok$/)
    expect(await raw('GET /hints HTTP/1.0')).toMatch(/^HTTP\/1\.1 200 OK\r\n[^]*\r\n\r\nok$/)
  })

  it('that is cut within its chunks reaches the caller without the last one', async () => {
    const answer = await raw('GET /cut-chunked HTTP/1.1')
    expect(bodyOf(answer)).toBe('4\r\nhalf\r\n')
    await expect.poll(() => lastNumber('web'), SOON).toBe(430)
  })

  it('that is cut short of its length reaches the caller short', async () => {
    const answer = await raw('GET /cut-sized HTTP/1.1')
    expect(answer).toMatch(/content-length: 10\r\n/i)
    expect(bodyOf(answer)).toBe('half')
  })

  it.each([
    ['read to its end', 100_000],
    ['sent', 0],
  ])('made before the body was %s arrives whole, and the connection serves the next request', async (_title, sent) => {
    const upload = Buffer.alloc(3_000_000, 'x')
    const socket = connect(platform.port, '127.0.0.1')
    const answer = collect(socket)
    socket.write(head('POST /early HTTP/1.1', 'web', `Content-Length: ${upload.length}`))
    socket.write(upload.subarray(0, sent))
    await expect.poll(answer, SOON).toMatch(/^HTTP\/1\.1 413 [^]*too big$/)
    socket.write(upload.subarray(sent))
    socket.write(head('GET /sized HTTP/1.1', 'web', 'Connection: close'))
    await expect.poll(answer, SOON).toMatch(/too bigHTTP\/1\.1 200 [^]*12345$/)
  })
})

describe('a request to a web function', () => {
  it('arrives with method, path and chunked body as they were', async () => {
    const answer = await raw('PUT /a//b/../c;d?x=%2F&y HTTP/1.1', 'Transfer-Encoding: chunked', '', '3\r\nabc\r\n0')
    const { method, url, bytes, rawHeaders } = JSON.parse(/\{.*\}/.exec(answer)?.[0] ?? '') as Echo
    expect({ method, url, bytes }).toEqual({ method: 'PUT', url: '/a//b/../c;d?x=%2F&y', bytes: 3 })
    expect(rawHeaders.map((value) => value.toLowerCase())).toContain('transfer-encoding')
  })

  it('arrives with the trailers that it announces, but for names that are ours', async () => {
    const answer = await raw(
      'POST / HTTP/1.1',
      'Transfer-Encoding: chunked',
      'Trailer: X-Sum',
      '',
      '3\r\nabc\r\n0\r\nX-Sum: 42\r\nX-Scf-Name: forged',
    )
    const { bytes, rawTrailers, rawHeaders } = JSON.parse(/\{.*\}/.exec(answer)?.[0] ?? '') as Echo
    expect({ bytes, rawTrailers }).toEqual({ bytes: 3, rawTrailers: ['X-Sum', '42'] })
    expect(rawHeaders[rawHeaders.indexOf('Trailer') + 1]).toBe('X-Sum')
  })

  it('may be for the whole server', async () => {
    const answer = await raw('OPTIONS * HTTP/1.1')
    expect(JSON.parse(/\{.*\}/.exec(answer)?.[0] ?? '')).toMatchObject({ method: 'OPTIONS', url: '*', bytes: 0 })
  })

  it('that is cut within its body is cut for the function too, within a second, and recorded as 499', async () => {
    const socket = connect(platform.port, '127.0.0.1')
    socket.write(head('POST /watch?mine HTTP/1.1', 'web', 'Content-Length: 1000'))
    socket.write('part')
    await sleep(500)
    socket.destroy()
    await expect.poll(() => api.log('web'), { timeout: 1_500, interval: 50 }).toContain('body of /watch?mine cut')
    await expect.poll(() => lastNumber('web'), SOON).toBe(499)
  })
})

describe('a caller that expects to be told to continue', () => {
  const upload = (path: string, ...more: string[]) =>
    execa('curl', ['-sS', '-i', '-H', 'Expect: 100-continue', '--data-binary', '@-', ...more, url(path)], {
      input: randomBytes(5_000_000),
      timeout: 20_000,
    })
  const url = (path: string): string => `http://web.default.localhost:${platform.port}${path}`

  it('is told so by the function, once, and its 5 MB arrive', async () => {
    const input = randomBytes(5_000_000)
    const { stdout } = await execa(
      'curl',
      ['-sS', '-i', '-H', 'Expect: 100-continue', '--data-binary', '@-', url('/upload')],
      { input, timeout: 20_000 },
    )
    expect(stdout.match(/HTTP\/1\.1 100 /g)).toHaveLength(1)
    const { bytes, sha256 } = JSON.parse(stdout.slice(stdout.lastIndexOf('\r\n\r\n'))) as Echo
    expect({ bytes, sha256 }).toEqual({ bytes: 5_000_000, sha256: createHash('sha256').update(input).digest('hex') })
  })

  it('sends nothing when the function refuses', async () => {
    const { stdout } = await upload('/refuses', '-w', 'sent %{size_upload}')
    expect(stdout).toMatch(/^HTTP\/1\.1 417 [^]*sent 0$/)
  })

  it('is told after a second when the function never says so', async () => {
    const { stdout } = await upload('/deaf', '--expect100-timeout', '10')
    expect(stdout).toMatch(/^HTTP\/1\.1 100 [^]*"bytes":5000000/)
  })

  it('gets no 100 over HTTP/1.0', async () => {
    const fields = head('POST / HTTP/1.0', 'web', 'Expect: 100-continue', 'Content-Length: 2')
    const answer = await sendRaw(platform.port, `${fields}hi`, 10_000)
    expect(answer).toMatch(/^HTTP\/1\.1 200 [^]*"bytes":2/)
    expect(answer).not.toContain('Expect')
  })
})

describe('a WebSocket of a web function', () => {
  const open = async (path: string, name = 'sockets'): Promise<WebSocket> => {
    const socket = new WebSocket(`ws://127.0.0.1:${platform.port}/web/default/${name}${path}`)
    socket.binaryType = 'arraybuffer'
    await heard(socket, 'open')
    return socket
  }
  const heard = <K extends keyof Events>(socket: WebSocket, type: K): Promise<Events[K]> =>
    new Promise((resolve, reject) => {
      socket.addEventListener(type, (event) => resolve(event as Events[K]), { once: true })
      // A WebSocket that closes abnormally tells an error first, then its close.
      if (type !== 'close') socket.addEventListener('error', () => reject(new Error('WebSocket error')), { once: true })
    })
  const answerTo = async (socket: WebSocket, message: string | Uint8Array<ArrayBuffer>): Promise<unknown> => {
    const answer = heard(socket, 'message')
    socket.send(message)
    return (await answer).data
  }

  // Opened first and looked at last: its 15 s pass beside the other tests.
  let idle: { beganMs: number; closed: Promise<CloseEvent> }
  beforeAll(async () => {
    await api.deploy('idle', IMAGE, { type: 'web', timeout: 30 })
    await api.deploy('soon', IMAGE, { type: 'web', timeout: 30, websocket: { idleTimeout: 1 } })
    const socket = await open('/idle', 'idle')
    idle = { beganMs: Date.now(), closed: heard(socket, 'close') }
  })

  it('passes messages of every size both ways, and its close code', async () => {
    const socket = await open('/echo')
    expect(await answerTo(socket, 'hello')).toBe('hello')
    const large = new Uint8Array(randomBytes(3_000_000))
    expect(Buffer.from((await answerTo(socket, large)) as ArrayBuffer).equals(large)).toBe(true)
    const closed = heard(socket, 'close')
    socket.close(1000)
    expect(await closed).toMatchObject({ code: 1000, wasClean: true })
    await expect.poll(() => lastNumber('sockets'), SOON).toBe(200)
  })

  it.each([
    ['1000 of the function', 'close 1000', 1000, 200],
    ['1011 of the function', 'close 1011', 1011, 200],
    ['another code of the function', 'close 4000', 4000, 439],
    ['an end without closing', 'end without closing', 1006, 439],
    ['a reset', 'reset', 1006, 439],
  ])('is recorded by how it closed: %s', async (_title, order, code, number) => {
    const socket = await open(`/${order.replaceAll(' ', '-')}`)
    const closed = heard(socket, 'close')
    socket.send(order)
    expect((await closed).code).toBe(code)
    await expect.poll(() => lastNumber('sockets'), SOON).toBe(number)
  })

  it('closed by its caller with a code of its own is recorded as 456', async () => {
    const socket = await open('/mine')
    socket.close(4001)
    expect((await heard(socket, 'close')).code).toBe(4001)
    await expect.poll(() => lastNumber('sockets'), SOON).toBe(456)
  })

  it('of a caller that just goes is closed for the function, and recorded as 456', async () => {
    const { socket } = await openRaw('/vanishes')
    socket.destroy()
    await expect.poll(() => api.log('sockets'), SOON).toContain('closed /vanishes')
    await expect.poll(() => lastNumber('sockets'), SOON).toBe(456)
  })

  it('passes a half-close on: what the function still says arrives', async () => {
    const { socket, received } = await openRaw('/half')
    const message = Buffer.alloc(2_000_000, 7)
    const mask = Buffer.alloc(4)
    const frame = Buffer.alloc(10)
    frame[0] = 0x82
    frame[1] = 0xff
    frame.writeBigUInt64BE(BigInt(message.length), 2)
    socket.end(Buffer.concat([frame, mask, message]))
    await expect.poll(() => received().length, SOON).toBe(message.length + 10)
    await expect.poll(() => socket.readableEnded, SOON).toBe(true)
  })

  it('of a process that ends is cut and recorded with its exit', async () => {
    await api.deploy('exits', IMAGE, { type: 'web', timeout: 30 })
    const socket = await open('/exits', 'exits')
    const closed = heard(socket, 'close')
    socket.send('exit')
    expect((await closed).code).toBe(1006)
    await expect
      .poll(() => lastRecord('exits'), SOON)
      .toMatchObject({ statusCode: 439, errorMessage: expect.stringContaining('code 3') })
  })

  it('ends at the execution timeout: 433, and the instance with it', async () => {
    await api.deploy('short', IMAGE, { type: 'web', timeout: 1 })
    const socket = await open('/short', 'short')
    expect((await heard(socket, 'close')).code).toBe(1006)
    await expect.poll(() => lastNumber('short'), SOON).toBe(433)
    await expect.poll(() => api.instances('short'), SOON).toEqual([])
  })

  it('lives on when another call of its instance is cut or left by its caller', async () => {
    await api.deploy('shared', IMAGE, { type: 'web', timeout: 30, concurrency: 3, maxInstances: 1 })
    const socket = await open('/shared', 'shared')
    const url = `${platform.url}/web/default/shared`
    await expect(fetch(`${url}/cut-chunked`).then((response) => response.text())).rejects.toThrow()
    await expect(fetch(`${url}/watch`, { signal: AbortSignal.timeout(200) })).rejects.toThrow()
    await expect.poll(() => lastNumber('shared'), SOON).toBe(499)
    expect(await answerTo(socket, 'still here')).toBe('still here')
    socket.close()
  })

  it('counts against concurrency as long as it is open', async () => {
    await api.deploy('one', IMAGE, { type: 'web', timeout: 30, maxInstances: 1 })
    const socket = await open('/held', 'one')
    const waits = fetch(`${platform.url}/web/default/one/sized`)
    expect(await Promise.race([waits, sleep(500, 'waits')])).toBe('waits')
    socket.close()
    expect((await waits).status).toBe(200)
  })

  it('that the function refuses is answered as it answers, confined like any page below a path', async () => {
    const fields = [
      'Connection: Upgrade',
      'Upgrade: websocket',
      `Sec-WebSocket-Key: ${randomBytes(16).toString('base64')}`,
    ]
    const request = `GET /web/default/sockets/refused HTTP/1.1\r\nHost: localhost\r\n${fields.join('\r\n')}\r\n\r\n`
    const answer = await sendRaw(platform.port, request, 10_000)
    expect(answer).toMatch(/^HTTP\/1\.1 403 Forbidden\r\n[^]*no!$/)
    expect(answer).toContain('Set-Cookie: a=1; Path=/web/default/sockets/\r\n')
  })

  it('is answered 101 with our id and no word of the function in our names', async () => {
    const { socket, answer } = await openRaw('/names')
    expect(answer).toMatch(/X-Request-Id: [0-9a-f-]{36}\r\nX-Slipway-Status: 200\r\n/)
    expect(answer).not.toContain('999')
    const id = /X-Request-Id: (\S+)/.exec(answer)?.[1] ?? ''
    await expect.poll(() => api.log('sockets'), SOON).toContain(`open ${id} /names`)
    socket.destroy()
  })

  it('of a caller that leaves while it waits for an instance takes none', async () => {
    await api.deploy('busy', IMAGE, { type: 'web', timeout: 30, maxInstances: 1 })
    const holder = await open('/holder', 'busy')
    const socket = connect(platform.port, '127.0.0.1')
    socket.write(handshake('/left', 'busy'))
    await sleep(200)
    socket.destroy()
    await expect.poll(() => lastNumber('busy'), SOON).toBe(499)
    expect(await answerTo(holder, 'still here')).toBe('still here')
    holder.close()
  })

  it('without a byte for 15 s is closed: 455', async () => {
    expect((await idle.closed).code).toBe(1006)
    expect(Date.now() - idle.beganMs).toBeGreaterThan(14_500)
    await expect.poll(() => lastNumber('idle'), SOON).toBe(455)
  })

  it('is closed as soon as the function says in websocket.idleTimeout, and not while pings pass', async () => {
    const { socket, received } = await openRaw('/pinged', 'soon')
    const beganMs = Date.now()
    // RFC 6455 5.5.2: a ping with a mask of zeros; 5.5.3: answered by a pong with the same bytes.
    const pings = setInterval(() => socket.write(Buffer.from([0x89, 0x82, 0, 0, 0, 0, 0x68, 0x69])), 400)
    await sleep(2_000)
    clearInterval(pings)
    expect(received().slice(0, 8)).toBe('\x8a\x02hi\x8a\x02hi')
    await expect.poll(() => socket.readableEnded || socket.destroyed, SOON).toBe(true)
    expect(Date.now() - beganMs).toBeGreaterThan(2_500)
    await expect
      .poll(() => lastRecord('soon'), SOON)
      .toMatchObject({ statusCode: 455, errorMessage: expect.stringContaining('1 s') })
  })

  it('may be one of a thousand at once, each with messages and a close of its own', async () => {
    await api.deploy('many', IMAGE, { type: 'web', timeout: 60, concurrency: 100, maxInstances: 10 })
    const sockets: WebSocket[] = []
    while (sockets.length < 1_000)
      sockets.push(...(await Promise.all(Array.from({ length: 100 }, () => open('/one', 'many')))))
    const answers = await Promise.all(sockets.map((socket, n) => answerTo(socket, `message ${n}`)))
    expect(answers).toEqual(sockets.map((_, n) => `message ${n}`))
    const closed = sockets.map((socket) => heard(socket, 'close'))
    for (const socket of sockets) socket.close(1000)
    const codes = (await Promise.all(closed)).map(({ code }) => code)
    expect(new Set(codes)).toEqual(new Set([1000]))
  }, 60_000)

  const handshake = (path: string, name = 'sockets'): string =>
    head(
      `GET ${path} HTTP/1.1`,
      name,
      'Connection: Upgrade',
      'Upgrade: websocket',
      'Sec-WebSocket-Version: 13',
      `Sec-WebSocket-Key: ${randomBytes(16).toString('base64')}`,
    )

  async function openRaw(
    path: string,
    name = 'sockets',
  ): Promise<{ socket: Socket; answer: string; received: () => string }> {
    const socket = connect({ port: platform.port, host: '127.0.0.1', allowHalfOpen: true })
    const all = collect(socket)
    socket.write(handshake(path, name))
    await expect.poll(all, SOON).toMatch(/^HTTP\/1\.1 101 [^]*\r\n\r\n/)
    const answer = all()
    const headBytes = answer.indexOf('\r\n\r\n') + 4
    return { socket, answer, received: () => all().slice(headBytes) }
  }
})

/** Everything that comes, as latin1 text. */
function collect(socket: Socket): () => string {
  let text = ''
  socket.setEncoding('latin1').on('data', (chunk: string) => {
    text += chunk
  })
  socket.on('error', () => undefined)
  return () => text
}
