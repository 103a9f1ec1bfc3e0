import { EventEmitter } from 'node:events'
import { closeSync } from 'node:fs'
import { createConnection, type Socket } from 'node:net'
import {
  AppError,
  connectSeqpacket,
  fromPlainError,
  type Logger,
  messageOf,
  receiveDescriptor,
} from '../../common/index.ts'
import {
  type Args,
  type EventData,
  type EventName,
  OPERATIONS,
  type Operation,
  PORT_VERSION,
  type Result,
  SILENCE_MS,
} from './port.ts'
import { checkMessage, encodeLine, parseLine, readLines, writeLine } from './wire.ts'

/** The server's view of the supervisor. Calls made while the supervisor is being replaced wait for the next one until their signal aborts. */
export interface HostClient {
  call<O extends Operation>(op: O, args: Args<O>, signal?: AbortSignal): Promise<Result<O>>
  /** The descriptor that an answer named by its tag. Throws `descriptor-lost` when it did not arrive. */
  takeDescriptor(tag: number): number
  on<E extends EventName>(event: E, listener: (data: EventData<E>) => void): void
  /** Called each time a new supervisor has taken over: adopt by `list`. */
  onReconnect(listener: () => void): void
  close(): void
}

export interface HostClientOptions {
  socketPath: string
  fdSocketPath: string
  generation: number
  logger: Logger
}

interface Pending {
  op: Operation
  args: unknown
  resolve: (value: unknown) => void
  reject: (reason: unknown) => void
}

const RECONNECT_MS = 25

/** Connects, says hello, and keeps the connection alive over restarts of the supervisor. Resolves with the first hello's answer. */
export async function connectHost(options: HostClientOptions): Promise<{ client: HostClient; hello: Result<'hello'> }> {
  const client = new SocketHostClient(options)
  const hello = await client.firstHello
  return { client, hello }
}

class SocketHostClient implements HostClient {
  readonly #options: HostClientOptions
  readonly #events = new EventEmitter()
  readonly #pending = new Map<number, Pending>()
  readonly #descriptors = new Map<number, number>()
  /** Creations that nobody waits for any more: what they make must not stay. */
  readonly #abandoned = new Set<number>()
  readonly firstHello: Promise<Result<'hello'>>
  #settleHello: PromiseWithResolvers<Result<'hello'>>
  #socket: Socket | undefined
  #fdSocket: number | undefined
  #nextId = 1
  #greeted = false
  #greetedBefore = false
  #closed = false
  #timer: NodeJS.Timeout | undefined
  readonly #heartbeat: NodeJS.Timeout

  constructor(options: HostClientOptions) {
    this.#options = options
    this.#settleHello = Promise.withResolvers()
    this.firstHello = this.#settleHello.promise
    this.#heartbeat = setInterval(() => this.#ping(), SILENCE_MS / 5)
    this.#connect()
  }

  call<O extends Operation>(op: O, args: Args<O>, signal?: AbortSignal): Promise<Result<O>> {
    if (this.#closed)
      return Promise.reject(new AppError('connection to the supervisor is closed', { code: 'host-gone' }))
    if (signal?.aborted === true) return Promise.reject(signal.reason as Error)
    const id = this.#nextId
    try {
      checkMessage(`arguments of ${op}`, OPERATIONS[op].args, args)
      encodeLine({ id, op, args })
    } catch (thrown) {
      return Promise.reject(thrown)
    }
    this.#nextId += 1
    const { promise, resolve, reject } = Promise.withResolvers<Result<O>>()
    this.#pending.set(id, { op, args, resolve: resolve as (value: unknown) => void, reject })
    if (this.#greeted && this.#socket !== undefined) writeLine(this.#socket, { id, op, args })
    if (signal === undefined) return promise
    const onAbort = (): void => {
      if (!this.#pending.delete(id)) return
      if (op === 'create') this.#abandoned.add(id)
      reject(signal.reason)
    }
    signal.addEventListener('abort', onAbort, { once: true })
    return promise.finally(() => signal.removeEventListener('abort', onAbort))
  }

  takeDescriptor(tag: number): number {
    this.#receiveDescriptors()
    const descriptor = this.#descriptors.get(tag)
    if (descriptor === undefined) {
      throw new AppError(`descriptor ${tag} did not arrive with its answer`, { code: 'descriptor-lost' })
    }
    this.#descriptors.delete(tag)
    return descriptor
  }

  on<E extends EventName>(event: E, listener: (data: EventData<E>) => void): void {
    this.#events.on(event, listener)
  }

  onReconnect(listener: () => void): void {
    this.#events.on('reconnect', listener)
  }

  close(): void {
    this.#closed = true
    clearInterval(this.#heartbeat)
    clearTimeout(this.#timer)
    this.#socket?.destroy()
    this.#forgetDescriptors()
    for (const pending of this.#pending.values()) {
      pending.reject(new AppError('connection to the supervisor is closed', { code: 'host-gone' }))
    }
    this.#pending.clear()
  }

  #connect(): void {
    const socket = createConnection(this.#options.socketPath)
    this.#socket = socket
    socket.on('connect', () => this.#greet(socket))
    socket.on('error', () => undefined)
    socket.on('close', () => {
      if (this.#closed || this.#socket !== socket) return
      this.#greeted = false
      this.#socket = undefined
      this.#forgetDescriptors()
      // The next supervisor names what was made in its list.
      this.#abandoned.clear()
      this.#timer = setTimeout(() => this.#connect(), RECONNECT_MS)
    })
    const broken = (why: Error): void => this.#options.logger.error({ err: why }, 'supervisor broke the port')
    readLines(socket, (line) => this.#receive(line), broken)
  }

  #greet(socket: Socket): void {
    try {
      this.#fdSocket = connectSeqpacket(this.#options.fdSocketPath)
    } catch (thrown) {
      this.#options.logger.warn({ err: messageOf(thrown) }, 'descriptor socket is not there yet')
      socket.destroy()
      return
    }
    const resolve = (value: unknown): void => this.#greetedBy(value as Result<'hello'>)
    const reject = (reason: unknown): void => this.#settleHello.reject(reason)
    const args: Args<'hello'> = { version: PORT_VERSION, generation: this.#options.generation }
    this.#pending.set(0, { op: 'hello', args, resolve, reject })
    writeLine(socket, { id: 0, op: 'hello', args })
  }

  /** What was asked of the old supervisor and not answered is asked again: each operation may be repeated (see port.ts). */
  #greetedBy(hello: Result<'hello'>): void {
    const again = this.#greetedBefore
    this.#greeted = true
    this.#greetedBefore = true
    this.#settleHello.resolve(hello)
    for (const [id, { op, args }] of this.#pending) {
      if (id !== 0 && this.#socket !== undefined) writeLine(this.#socket, { id, op, args })
    }
    if (again) this.#events.emit('reconnect')
  }

  #receive(line: string): void {
    const message = parseLine(line)
    if (message.kind === 'request') throw new AppError('unexpected request', { code: 'port-message' })
    if (message.kind === 'event') {
      this.#events.emit(message.event, message.data)
      return
    }
    this.#receiveDescriptors()
    const pending = this.#pending.get(message.id)
    if (pending === undefined) {
      this.#discard(message)
      return
    }
    this.#pending.delete(message.id)
    if (message.error !== undefined) {
      pending.reject(fromPlainError(message.error))
      return
    }
    const { ok } = message
    try {
      checkMessage(`answer of ${pending.op}`, OPERATIONS[pending.op].result, ok)
      pending.resolve(ok)
    } catch (thrown) {
      pending.reject(thrown)
      throw thrown
    }
  }

  /** Nobody waits for this answer any more: neither its descriptor nor the instance that it names may stay. */
  #discard({ id, ok }: { id: number; ok?: unknown }): void {
    if (this.#abandoned.delete(id) && typeof ok === 'object' && ok !== null && 'id' in ok) {
      this.call('remove', { id: String(ok.id) }).catch((thrown: unknown) =>
        this.#options.logger.error(
          { instance: ok.id, err: messageOf(thrown) },
          'unwanted instance could not be removed',
        ),
      )
    }
    if (typeof ok !== 'object' || ok === null || !('descriptor' in ok) || typeof ok.descriptor !== 'number') return
    const descriptor = this.#descriptors.get(ok.descriptor)
    this.#descriptors.delete(ok.descriptor)
    if (descriptor !== undefined) closeSync(descriptor)
  }

  #ping(): void {
    if (this.#greeted) this.call('ping', {}).catch(() => undefined)
  }

  #receiveDescriptors(): void {
    if (this.#fdSocket === undefined) return
    for (let packet = receiveDescriptor(this.#fdSocket); packet; packet = receiveDescriptor(this.#fdSocket)) {
      if (packet.descriptor >= 0) this.#descriptors.set(Number(packet.data.readBigUInt64LE()), packet.descriptor)
    }
  }

  #forgetDescriptors(): void {
    for (const descriptor of this.#descriptors.values()) closeSync(descriptor)
    this.#descriptors.clear()
    if (this.#fdSocket !== undefined) closeSync(this.#fdSocket)
    this.#fdSocket = undefined
  }
}
