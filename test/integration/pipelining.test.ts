import { connect, type Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type RunningControlPlane, startControlPlane, TOKEN } from '../helpers/control-plane.ts'
import { readAnswers } from '../helpers/http-answers.ts'

const SOON = { timeout: 5_000, interval: 20 }

let plane: RunningControlPlane
beforeAll(async () => {
  plane = await startControlPlane()
  const path = '/v1/namespaces/default/functions/event'
  await plane.request('PUT', path, { image: 'a/b', settings: { type: 'event' } })
})
afterAll(() => plane?.close())

const call = (event: string, length = event.length): string =>
  `POST /v1/namespaces/default/functions/event/invocations HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer ${TOKEN}\r\n` +
  `Content-Type: application/json\r\nContent-Length: ${length}\r\n\r\n${event}`

function send(bytes: string): { socket: Socket; wire: () => string; results: () => unknown[] } {
  const socket = connect(plane.port, '127.0.0.1')
  let text = ''
  socket.setEncoding('latin1').on('data', (chunk: string) => {
    text += chunk
  })
  socket.on('error', () => undefined).write(bytes)
  const results = (): unknown[] =>
    readAnswers(text, []).map(({ body }) => (JSON.parse(body) as { result: unknown }).result)
  return { socket, wire: () => text, results }
}

/** Holds every call until it is let go; `seen` counts those that have begun. */
function hold(): { seen: () => number; letGo: () => void } {
  const { promise, resolve } = Promise.withResolvers<void>()
  const before = plane.runtime.events.length
  plane.runtime.gate = promise
  const letGo = (): void => {
    plane.runtime.gate = Promise.resolve()
    resolve()
  }
  return { seen: () => plane.runtime.events.length - before, letGo }
}

describe('requests in a row on one connection', () => {
  it('are served one after the other: none begins before the one before it is answered', async () => {
    const held = hold()
    const sender = send(call('1') + call('2') + call('3'))
    await expect.poll(held.seen, SOON).toBe(1)
    await sleep(100)
    expect(held.seen()).toBe(1)
    held.letGo()
    await expect.poll(sender.results, SOON).toEqual([1, 2, 3])
    sender.socket.destroy()
  })

  it('may be many more than are held at a time', async () => {
    const numbers = Array.from({ length: 300 }, (_, n) => n)
    const held = hold()
    const sender = send(numbers.map((n) => call(String(n))).join(''))
    await expect.poll(held.seen, SOON).toBe(1)
    held.letGo()
    await expect.poll(() => sender.wire().split('HTTP/1.1 200 ').length - 1, SOON).toBe(300)
    expect(sender.results()).toEqual(numbers)
    sender.socket.destroy()
  })

  it('are forgotten with a caller that leaves', async () => {
    const held = hold()
    const sender = send(call('1') + call('2'))
    await expect.poll(held.seen, SOON).toBe(1)
    sender.socket.destroy()
    await sleep(100)
    held.letGo()
    await sleep(100)
    expect(held.seen()).toBe(1)
  })

  it('are answered up to the one whose body breaks its framing, which is refused in its turn', async () => {
    const held = hold()
    const broken = call('', 0).replace('Content-Length: 0', 'Transfer-Encoding: chunked')
    const sender = send(`${call('1')}${call('2')}${broken}no size\r\n`)
    await expect.poll(held.seen, SOON).toBe(1)
    held.letGo()
    await expect.poll(() => sender.socket.closed, SOON).toBe(true)
    expect(readAnswers(sender.wire(), []).map(({ status }) => status)).toEqual([200, 200, 400])
  })
})
