import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type RunningControlPlane, startControlPlane, TOKEN } from '../helpers/control-plane.ts'

const IDLE_MS = 400
const BODY = Buffer.from('{"a":1}')

let plane: RunningControlPlane
beforeAll(async () => {
  plane = await startControlPlane()
  plane.server.timeout = IDLE_MS
  const deploy = (name: string, type: string) =>
    plane.request('PUT', `/v1/namespaces/default/functions/${name}`, { image: 'a/b', settings: { type } })
  await Promise.all([deploy('event', 'event'), deploy('web', 'web')])
})
afterAll(() => plane?.close())

const EVENT = '/v1/namespaces/default/functions/event/invocations'
const head = (target: string, length: number): string =>
  `POST ${target} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer ${TOKEN}\r\nContent-Type: application/json\r\nContent-Length: ${length}\r\n\r\n`

interface Slow {
  socket: Socket
  answer: () => string
  ended: Promise<unknown>
}

function open(bytes: string): Slow {
  const socket = connect(plane.port, '127.0.0.1')
  let text = ''
  socket.setEncoding('latin1').on('data', (chunk: string) => {
    text += chunk
  })
  socket.on('error', () => undefined).write(bytes)
  return { socket, answer: () => text, ended: once(socket, 'close') }
}

describe('a caller that stops in the middle of its body', () => {
  it.each([
    ['an event', EVENT],
    ['a web call', '/web/default/web/'],
  ])('of %s is answered 408 and loses its connection', async (_title, target) => {
    const beganMs = performance.now()
    const slow = open(`${head(target, 7)}{"a"`)
    await slow.ended
    expect(slow.answer()).toMatch(/^HTTP\/1\.1 408 /)
    expect(slow.answer()).toContain('no byte of the body came for 0.4 s')
    expect(performance.now() - beganMs).toBeGreaterThan(IDLE_MS - 50)
  })

  it('is let be as long as bytes come', async () => {
    const slow = open(head(EVENT, BODY.length))
    for (const byte of BODY) {
      await sleep(IDLE_MS / 2)
      slow.socket.write(Buffer.from([byte]))
    }
    await expect.poll(slow.answer, { timeout: 3_000 }).toMatch(/^HTTP\/1\.1 200 /)
    slow.socket.destroy()
  })
})

describe('a caller that waits', () => {
  it('for its function keeps its connection', async () => {
    const { promise, resolve } = Promise.withResolvers<void>()
    plane.runtime.gate = promise
    const waiting = open(head(EVENT, BODY.length) + BODY.toString())
    await sleep(IDLE_MS * 3)
    expect(waiting.answer()).toBe('')
    resolve()
    await expect.poll(waiting.answer, { timeout: 3_000 }).toMatch(/^HTTP\/1\.1 200 /)
    plane.runtime.gate = Promise.resolve()
    waiting.socket.destroy()
  })

  it('for log lines keeps its connection', async () => {
    const path = '/v1/namespaces/default/functions/event/logs?follow=true'
    const reader = open(`GET ${path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer ${TOKEN}\r\n\r\n`)
    await expect.poll(reader.answer, { timeout: 3_000 }).toContain('first')
    await sleep(IDLE_MS * 3)
    expect(reader.socket.destroyed).toBe(false)
    reader.socket.destroy()
  })
})

describe('a caller that does not read', () => {
  it('an answer that is ready loses its connection', async () => {
    plane.runtime.nextResult = { result: 'x'.repeat(5_000_000) }
    const server = new Promise<Socket>((resolve) => plane.server.once('connection', resolve))
    const socket = connect(plane.port, '127.0.0.1')
    socket
      .pause()
      .on('error', () => undefined)
      .write(head(EVENT, BODY.length) + BODY.toString())
    const accepted = await server
    await once(accepted, 'close', { signal: AbortSignal.timeout(IDLE_MS * 10) })
    socket.destroy()
  })
})

describe('a caller that holds its connection', () => {
  it('between two requests loses it when none comes', async () => {
    plane.server.keepAliveTimeout = IDLE_MS
    const kept = open(`GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n`)
    await kept.ended
    expect(kept.answer()).toMatch(/^HTTP\/1\.1 200 /)
    plane.server.keepAliveTimeout = 65_000
  })

  it.each([
    ['without a byte', ''],
    ['with half a head', 'GET / HTTP/1.1\r\nHost: loc'],
  ])('%s is answered 408 when the time for heads is over', async (_title, bytes) => {
    plane.server.headersTimeout = 300
    plane.server.timeout = 30_000
    const slow = open(bytes)
    await slow.ended
    expect(slow.answer()).toMatch(/^HTTP\/1\.1 408 /)
    plane.server.headersTimeout = 15_000
    plane.server.timeout = IDLE_MS
  })

  it('may hold as many as leave descriptors for everything else', () => {
    expect(plane.server.maxConnections).toBeGreaterThan(100)
    expect(plane.server.maxConnections).toBeLessThan(10_000_000)
  })
})
