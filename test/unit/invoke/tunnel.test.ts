import { once } from 'node:events'
import { connect, createServer, type Server, type Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { tunnel } from '../../../runtime-shim/invoke/tunnel.ts'

/** Both ends of one TCP connection: `near` is the tunnel's, `far` the peer's. */
interface Pair {
  near: Socket
  far: Socket
}

let server: Server
const opened: Socket[] = []
beforeEach(async () => {
  server = createServer({ allowHalfOpen: true, pauseOnConnect: true })
  await once(server.listen(0, '127.0.0.1'), 'listening')
})
afterEach(() => {
  for (const socket of opened.splice(0)) socket.destroy()
  server.close()
})

async function pair(): Promise<Pair> {
  const address = server.address()
  if (address === null || typeof address === 'string') throw new Error('no port')
  const far = connect({ port: address.port, host: '127.0.0.1', allowHalfOpen: true })
  const [near] = (await once(server, 'connection')) as [Socket]
  opened.push(near, far)
  far.on('error', () => undefined)
  return { near, far }
}

async function between(idleMs = 5_000) {
  const [caller, upstream, deadline] = [await pair(), await pair(), new AbortController()]
  const ended = tunnel(caller.near, upstream.near, { idleMs, signal: deadline.signal })
  return { caller: caller.far, upstream: upstream.far, nears: [caller.near, upstream.near], ended, deadline }
}

describe('a tunnel', () => {
  it('holds no more of a fast side than buffers, however long the slow side does not read', async () => {
    const { caller, upstream, nears } = await between()
    const chunk = Buffer.alloc(1 << 20)
    let accepted = 0
    const more = (): void => {
      while (accepted < 500 && upstream.write(chunk, () => (accepted += 1))) continue
    }
    upstream.on('drain', more)
    more()
    await sleep(500)
    const held = nears.reduce((sum, socket) => sum + socket.readableLength + socket.writableLength, 0)
    expect(held).toBeLessThan(1 << 20)
    expect(accepted).toBeLessThan(100)
    const before = accepted
    caller.resume()
    await expect.poll(() => accepted).toBeGreaterThan(before)
  })

  it('passes a half-close on and goes on the other way', async () => {
    const { caller, upstream, ended } = await between()
    caller.end('question')
    await once(upstream.resume(), 'end')
    upstream.end('answer')
    const [answer] = (await once(caller, 'data')) as [Buffer]
    expect(answer.toString()).toBe('answer')
    expect(await ended).toEqual({ kind: 'closed', by: 'caller', frame: undefined })
  })

  it('passes a reset on as a reset', async () => {
    const { caller, upstream, ended, nears } = await between()
    caller.resume()
    const failed = once(caller, 'error')
    upstream.resetAndDestroy()
    await expect(failed).resolves.toMatchObject([{ code: 'ECONNRESET' }])
    expect(await ended).toEqual({ kind: 'closed', by: 'function', frame: undefined })
    expect(nears.every(({ destroyed }) => destroyed)).toBe(true)
  })

  it('tells which side sent its close frame first', async () => {
    const { caller, upstream, ended } = await between()
    upstream.write(Buffer.from([0x88, 2, 0x0f, 0xa1]))
    await once(caller, 'data')
    caller.end(Buffer.from([0x88, 0x80, 0, 0, 0, 0]))
    upstream.resume().end()
    expect(await ended).toEqual({ kind: 'closed', by: 'function', frame: { code: 4_001 } })
  })

  it('ends when nothing passes, and only then', async () => {
    const { caller, upstream, ended, nears } = await between(200)
    upstream.resume()
    const began = performance.now()
    for (let n = 0; n < 4; n += 1) {
      caller.write(Buffer.from([0x82, 0]))
      await sleep(100)
    }
    expect(await ended).toEqual({ kind: 'idle' })
    expect(performance.now() - began).toBeGreaterThan(450)
    expect(nears.every(({ destroyed }) => destroyed)).toBe(true)
  })

  it('is cut by its signal, whose reason it rejects with', async () => {
    const { deadline, ended, nears } = await between()
    const reason = new Error('time is up')
    deadline.abort(reason)
    await expect(ended).rejects.toBe(reason)
    expect(nears.every(({ destroyed }) => destroyed)).toBe(true)
  })
})
