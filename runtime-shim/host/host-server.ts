import { chmodSync, chownSync, closeSync, rmSync } from 'node:fs'
import { createServer, type Server, type Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import {
  AppError,
  accept,
  type Logger,
  listenSeqpacket,
  messageOf,
  peerCredentials,
  sendDescriptor,
} from '../../common/index.ts'
import { type Args, type EventData, type EventName, OPERATIONS, type Operation, type Result } from './port.ts'
import { checkMessage, descriptorOf, parseLine, portError, readLines, writeLine } from './wire.ts'

/** What the supervisor does for each operation. `pass` hands a descriptor over beside the answer and gives its tag. */
export type Handlers = {
  [O in Operation]: (args: Args<O>, pass: PassDescriptor) => Promise<Result<O>> | Result<O>
}
export type PassDescriptor = (descriptor: number) => Promise<number>

export interface HostServerOptions {
  socketPath: string
  fdSocketPath: string
  /** Group that may connect: the server's. */
  gid: number
  /** Who may connect: the server that the supervisor started. */
  isServer: (peer: { pid: number; uid: number }) => boolean
  handlers: Handlers
  onMessage: () => void
  logger: Logger
}

interface Connection {
  socket: Socket
  pid: number
  fdSocket: number | undefined
  nextTag: number
  /** Requests that are not answered yet. */
  open: number
  openBytes: number
}

const DESCRIPTOR_WAIT_MS = 1_000
/** What a server may have asked without an answer; beyond it nothing more is read until some are answered. */
const MAX_OPEN = 4_096
const MAX_OPEN_BYTES = 16 * 1024 * 1024
/** A server that leaves so much unread is dropped: our heap is small. */
const MAX_UNREAD_BYTES = 8 * 1024 * 1024

/** The supervisor's end of the port. One server is connected at a time; a later one takes its place. */
export class HostServer {
  readonly #options: HostServerOptions
  readonly #listener: Server
  #fdListener = -1
  #connection: Connection | undefined

  constructor(options: HostServerOptions) {
    this.#options = options
    this.#listener = createServer((socket) => this.#accept(socket))
  }

  async listen(): Promise<void> {
    const { socketPath, fdSocketPath, gid } = this.#options
    rmSync(socketPath, { force: true })
    rmSync(fdSocketPath, { force: true })
    this.#fdListener = listenSeqpacket(fdSocketPath)
    await new Promise<void>((resolve, reject) => {
      this.#listener.once('error', reject)
      this.#listener.listen(socketPath, resolve)
    })
    for (const path of [socketPath, fdSocketPath]) {
      if (process.getuid?.() === 0) chownSync(path, 0, gid)
      chmodSync(path, 0o660)
    }
  }

  tell<E extends EventName>(event: E, data: EventData<E>): void {
    if (this.#connection !== undefined) writeLine(this.#connection.socket, { event, data })
  }

  get connected(): boolean {
    return this.#connection !== undefined
  }

  close(): void {
    this.#listener.close()
    this.#drop(this.#connection)
    if (this.#fdListener >= 0) closeSync(this.#fdListener)
    this.#fdListener = -1
  }

  #accept(socket: Socket): void {
    const peer = peerCredentials(descriptorOf(socket))
    if (!this.#options.isServer(peer)) {
      this.#options.logger.warn({ peer }, 'stranger on the host socket refused')
      socket.destroy()
      return
    }
    this.#drop(this.#connection)
    const connection: Connection = { socket, pid: peer.pid, fdSocket: undefined, nextTag: 1, open: 0, openBytes: 0 }
    this.#connection = connection
    socket.on('error', () => undefined)
    socket.on('close', () => this.#drop(connection))
    const broken = (why: Error): void => this.#options.logger.error({ err: why }, 'server broke the port')
    readLines(socket, (line) => this.#receive(connection, line), broken)
  }

  #drop(connection: Connection | undefined): void {
    if (connection === undefined) return
    if (this.#connection === connection) this.#connection = undefined
    connection.socket.destroy()
    if (connection.fdSocket !== undefined) closeSync(connection.fdSocket)
    connection.fdSocket = undefined
  }

  #receive(connection: Connection, line: string): void {
    const message = parseLine(line)
    if (message.kind !== 'request') throw new AppError(`unexpected ${message.kind}`, { code: 'port-message' })
    this.#options.onMessage()
    connection.open += 1
    connection.openBytes += line.length
    if (isFull(connection)) connection.socket.pause()
    void this.#answer(connection, message.id, message.op, message.args).finally(() => {
      connection.open -= 1
      connection.openBytes -= line.length
      if (connection.socket.isPaused() && !isFull(connection)) connection.socket.resume()
    })
  }

  async #answer(connection: Connection, id: number, op: Operation, args: unknown): Promise<void> {
    try {
      if (op === 'hello') this.#acceptDescriptorSocket(connection)
      const pass = (descriptor: number): Promise<number> => this.#pass(connection, descriptor)
      const handler = this.#options.handlers[op] as (args: unknown, pass: PassDescriptor) => unknown
      const ok = await handler(args, pass)
      checkMessage(`answer of ${op}`, OPERATIONS[op].result, ok)
      writeLine(connection.socket, { id, ok })
    } catch (thrown) {
      this.#options.logger.debug({ op, err: messageOf(thrown) }, 'operation failed')
      writeLine(connection.socket, { id, error: portError(thrown) })
    }
    if (connection.socket.writableLength > MAX_UNREAD_BYTES) this.#drop(connection)
  }

  /** The server connects its descriptor socket before it says hello, so it waits in the queue already; others' are closed. */
  #acceptDescriptorSocket(connection: Connection): void {
    for (let fd = accept(this.#fdListener); fd !== undefined; fd = accept(this.#fdListener)) {
      if (peerCredentials(fd).pid === connection.pid && connection.fdSocket === undefined) connection.fdSocket = fd
      else closeSync(fd)
    }
    if (connection.fdSocket === undefined) {
      throw new AppError('hello without a descriptor socket', { code: 'port-message' })
    }
  }

  async #pass(connection: Connection, descriptor: number): Promise<number> {
    const tag = connection.nextTag
    connection.nextTag += 1
    const packet = Buffer.alloc(8)
    packet.writeBigUInt64LE(BigInt(tag))
    try {
      for (let waitedMs = 0; ; waitedMs += 5) {
        if (connection.fdSocket === undefined) throw new AppError('server is gone', { code: 'server-gone' })
        if (sendDescriptor(connection.fdSocket, packet, descriptor)) return tag
        if (waitedMs >= DESCRIPTOR_WAIT_MS) throw new AppError('server takes no descriptors', { code: 'server-gone' })
        await sleep(5)
      }
    } finally {
      closeSync(descriptor)
    }
  }
}

function isFull({ open, openBytes }: Connection): boolean {
  return open >= MAX_OPEN || openBytes >= MAX_OPEN_BYTES
}
