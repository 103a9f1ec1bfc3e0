import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo, Socket } from 'node:net'
import { createServer as createTcpServer } from 'node:net'
import { afterEach, describe, expect, it } from 'vitest'
import { AppError, startConnect } from '../../../common/index.ts'
import type { HostClient } from '../../../runtime-shim/host/host-client.ts'
import { KeptConnections } from '../../../runtime-shim/instances/index.ts'
import type { EventAnswer } from '../../../runtime-shim/invoke/answer-reader.ts'
import { EventExchange } from '../../../runtime-shim/invoke/exchange.ts'

const HEAD = 'POST /event-invoke HTTP/1.1\r\nhost: function\r\n'
const undo: (() => void)[] = []
afterEach(() => {
  for (const step of undo.splice(0)) step()
})

/** Connections to a function on loopback, dialled as the supervisor would; `dials` counts them. */
async function connectionsTo(server: Server | ReturnType<typeof createTcpServer>) {
  const sockets = new Set<Socket>()
  server.on('connection', (socket: Socket) => sockets.add(socket))
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  const counted = { dials: 0 }
  const host = {
    call: async () => {
      counted.dials += 1
      if (!server.listening) throw new AppError('refused', { code: 'dial-failed' })
      return { outcome: 'connected', descriptor: 0 }
    },
    takeDescriptor: () => {
      const connection = startConnect('127.0.0.1', port)
      if (connection.kind !== 'connected' && connection.kind !== 'pending') throw new Error(connection.kind)
      return connection.fd
    },
  } as unknown as HostClient
  const connections = new KeptConnections(host, '0123456789abcdef', undefined)
  undo.push(() => {
    connections.close()
    server.close()
    for (const socket of sockets) socket.destroy()
  })
  return { connections, counted, sockets }
}

interface Sent {
  exchange: EventExchange
  answer: Promise<EventAnswer>
}

function send(connections: KeptConnections, body: string, hold: (bytes: number) => boolean = () => true): Sent {
  const { promise, resolve, reject } = Promise.withResolvers<EventAnswer>()
  const message = { head: HEAD, body: Buffer.from(body), hold }
  const exchange = new EventExchange(connections, message, (error, answer) =>
    answer === undefined ? reject(error) : resolve(answer),
  )
  exchange.start()
  return { exchange, answer: promise }
}

function echo(request: IncomingMessage, response: ServerResponse): void {
  request.pipe(response)
}

describe('an event sent to an instance', () => {
  it('and its answer keep one connection, one call after the other', async () => {
    const { connections, counted } = await connectionsTo(createServer(echo))
    for (const body of ['1', '"é"', `"${'x'.repeat(200_000)}"`, '2']) {
      expect(await send(connections, body).answer).toEqual({ status: 200, body })
    }
    expect(counted.dials).toBe(1)
  })

  it('has a connection of its own beside others', async () => {
    const { connections, counted } = await connectionsTo(createServer(echo))
    const bodies = Array.from({ length: 20 }, (_, index) => String(index))
    const answers = await Promise.all(bodies.map((body) => send(connections, body).answer))
    expect(answers.map(({ body }) => body)).toEqual(bodies)
    expect(counted.dials).toBe(20)
  })

  it('goes over a new connection when the function closed the last one', async () => {
    const { connections, counted } = await connectionsTo(
      createServer((_request, response) => response.setHeader('connection', 'close').end('1')),
    )
    await send(connections, '1').answer
    await send(connections, '1').answer
    expect(counted.dials).toBe(2)
  })

  it('leaves no connection open that lies idle for more than two seconds', async () => {
    const { connections, sockets } = await connectionsTo(createServer(echo))
    await send(connections, '1').answer
    const [socket] = sockets
    await expect.poll(() => socket?.readableEnded, { timeout: 4_000 }).toBe(true)
  })

  it('that is aborted closes its connection, and no other', async () => {
    const { connections, sockets } = await connectionsTo(createTcpServer())
    const first = send(connections, '1')
    const second = send(connections, '2')
    await expect.poll(() => sockets.size).toBe(2)
    first.exchange.abort(new Error('too late'))
    await expect(first.answer).rejects.toThrow('too late')
    const ended = (): number =>
      [...sockets].filter((socket) => socket.resume().readableEnded || socket.destroyed).length
    await expect.poll(ended).toBe(1)
    second.exchange.abort(new Error('over'))
    await expect(second.answer).rejects.toThrow('over')
  })

  it.each([
    ['before its answer', ''],
    ['within its head', 'HTTP/1.1 200 OK\r\nContent-'],
    ['within its body', 'HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhell'],
  ])('fails when the function ends the connection %s', async (_title, said) => {
    const { connections } = await connectionsTo(
      createTcpServer((socket) => socket.once('data', () => socket.end(said))),
    )
    await expect(send(connections, '1').answer).rejects.toThrow('closed before the answer was complete')
  })

  it('fails when its answer is no HTTP', async () => {
    const { connections } = await connectionsTo(createTcpServer((socket) => socket.end('hello\r\n\r\n')))
    await expect(send(connections, '1').answer).rejects.toMatchObject({ code: 'answer-malformed' })
  })

  it('fails as unsent when no connection stands', async () => {
    const server = createServer(echo)
    const { connections } = await connectionsTo(server)
    server.close()
    await expect(send(connections, '1').answer).rejects.toMatchObject({ code: 'dial-failed' })
  })

  it('asks for room for its answer, and fails where there is none', async () => {
    const { connections } = await connectionsTo(createServer(echo))
    let held = 0
    const hold = (bytes: number): boolean => {
      held += bytes
      return held <= 100_000
    }
    expect((await send(connections, `"${'x'.repeat(50_000)}"`, hold).answer).body).toHaveLength(50_002)
    expect(held).toBe(50_002)
    await expect(send(connections, `"${'x'.repeat(60_000)}"`, hold).answer).rejects.toMatchObject({
      code: 'overloaded',
    })
  })
})
