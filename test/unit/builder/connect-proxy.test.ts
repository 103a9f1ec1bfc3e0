import { createServer, request, type Server } from 'node:http'
import { type AddressInfo, connect, type Socket } from 'node:net'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { type ConnectProxy, placeOf, serveConnectProxy } from '../../../builder/connect-proxy.ts'
import { listenTcp } from '../../../common/index.ts'

let origin: Server
let place: string
const open: { close(): unknown }[] = []

beforeEach(async () => {
  origin = createServer((incoming, response) => {
    const chunks: Buffer[] = []
    incoming.on('data', (chunk: Buffer) => chunks.push(chunk))
    incoming.on('end', () => {
      response.setHeader('x-path', incoming.url ?? '')
      response.end(JSON.stringify({ headers: incoming.headers, body: Buffer.concat(chunks).toString() }))
    })
  })
  await new Promise<void>((resolve) => origin.listen(0, '127.0.0.1', resolve))
  place = `127.0.0.1:${(origin.address() as AddressInfo).port}`
  open.push(origin)
})
afterEach(() => {
  for (const each of open.splice(0)) each.close()
})

async function startProxy(allowed: string[], upstream?: URL): Promise<ConnectProxy> {
  const proxy = await serveConnectProxy(listenTcp('127.0.0.1', 0), { allowed: new Set(allowed), upstream })
  open.push(proxy)
  return proxy
}

/** CONNECT, and when it is granted one request through the tunnel; the whole conversation as text. */
async function through(proxy: ConnectProxy, target: string): Promise<string> {
  const socket: Socket = connect(proxy.port, '127.0.0.1')
  let text = ''
  socket.on('data', (chunk: Buffer) => {
    text += chunk.toString('utf8')
    if (text.startsWith('HTTP/1.1 200') && text.endsWith('\r\n\r\n')) {
      socket.write('GET /inside HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n')
    }
  })
  socket.write(`CONNECT ${target} HTTP/1.1\r\nhost: ${target}\r\n\r\n`)
  await new Promise((resolve) => socket.once('close', resolve))
  return text
}

async function absolute(proxy: ConnectProxy, url: string, headers: Record<string, string> = {}) {
  const asked = request({ port: proxy.port, host: '127.0.0.1', method: 'PUT', path: url, headers, agent: false })
  const answered = new Promise<{ status: number; text: string }>((resolve, reject) => {
    asked.once('error', reject)
    asked.once('response', (response) => {
      let text = ''
      response.on('data', (chunk: Buffer) => {
        text += chunk.toString()
      })
      response.once('end', () => resolve({ status: response.statusCode ?? 0, text }))
    })
  })
  asked.end('body')
  return answered
}

describe('the proxy of a build', () => {
  it('tunnels to an allowed place', async () => {
    const text = await through(await startProxy([place]), place)
    expect(text).toMatch(/^HTTP\/1\.1 200 OK\r\n\r\nHTTP\/1\.1 200 OK\r\n/)
    expect(text).toContain('x-path: /inside')
  })

  it.each([
    '169.254.169.254:80',
    '127.0.0.1:22',
    'localhost:1',
    'example.test:443',
    '[::1]:80',
    '',
    'a b',
    '127.0.0.1',
  ])('answers 403 to CONNECT "%s" and remembers it', async (target) => {
    const proxy = await startProxy([place])
    const text = await through(proxy, target === '' ? ':' : target)
    expect(text).toMatch(/^HTTP\/1\.1 (403|400) /)
    if (text.includes('403')) expect([...proxy.refused]).toHaveLength(1)
  })

  it('forwards absolute-form requests to an allowed place, without what belongs to one hop', async () => {
    const proxy = await startProxy([place])
    const answer = await absolute(proxy, `http://${place}/a?b=c`, { 'proxy-authorization': 'x', 'x-kept': 'y' })
    expect(answer.status).toBe(200)
    const seen = JSON.parse(answer.text) as { headers: Record<string, string>; body: string }
    expect(seen.body).toBe('body')
    expect(seen.headers['x-kept']).toBe('y')
    expect(seen.headers['proxy-authorization']).toBeUndefined()
  })

  it.each(['http://169.254.169.254/latest/meta-data', 'ftp://127.0.0.1/', '/origin-form'])(
    'answers 403 to %s',
    async (url) => {
      expect((await absolute(await startProxy([place]), url)).status).toBe(403)
    },
  )

  it('answers 502 when the allowed place does not answer', async () => {
    const proxy = await startProxy(['127.0.0.1:1'])
    expect(await through(proxy, '127.0.0.1:1')).toMatch(/^HTTP\/1\.1 502 /)
    expect((await absolute(proxy, 'http://127.0.0.1:1/')).status).toBe(502)
  })

  it('goes through the proxy of the machine where it has one', async () => {
    const outer = await startProxy([place])
    const inner = await startProxy([place], new URL(`http://user:pass@127.0.0.1:${outer.port}`))
    expect(await through(inner, place)).toContain('x-path: /inside')
    expect((await absolute(inner, `http://${place}/a`)).status).toBe(200)
    const narrow = await startProxy([place], new URL(`http://127.0.0.1:${(await startProxy([])).port}`))
    expect(await through(narrow, place)).toMatch(/^HTTP\/1\.1 502 /)
  })

  it('names places with the default port of their scheme', () => {
    expect(placeOf(new URL('https://Registry.Example/npm/'))).toBe('registry.example:443')
    expect(placeOf(new URL('http://[::1]:4873/'))).toBe('[::1]:4873')
  })
})
