import { Socket } from 'node:net'
import type { HostClient } from '../host/host-client.ts'
import { dialDescriptor, REUSE_MS } from './connections.ts'

/** Whom a connection works for. */
export interface ConnectionUser {
  /** What the function sent: another connection's when this returns. */
  onBytes(bytes: Buffer): void
  /** The function has said its last byte. */
  onEnd(): void
  onClose(why: Error | undefined): void
  /** What was written and did not go out at once is out. */
  onDrain?(): void
}

/** All connections read into it: each piece is dealt with before the next is read. */
const PIECE = Buffer.allocUnsafeSlow(64 * 1024)

/** One connection to the server of a function, as bare as can be: what is sent and read is its user's. */
export class KeptConnection {
  readonly #socket: Socket
  #broken: Error | undefined
  user: ConnectionUser | undefined
  idleUntil = 0
  idleSince = 0
  answers = 0
  readonly #onUnasked: (connection: KeptConnection) => void

  /** `onUnasked` is told when the function ends it, or speaks, although nothing was asked. */
  constructor(descriptor: number, onUnasked: (connection: KeptConnection) => void) {
    this.#onUnasked = onUnasked
    const onread = { buffer: PIECE, callback: (length: number) => this.#read(length) }
    // `onread` works with a descriptor too; the types know it of `connect` only.
    const options: ConstructorParameters<typeof Socket>[0] & { onread: object } = { fd: descriptor, onread }
    this.#socket = new Socket(options)
    this.#socket.setNoDelay(true)
    this.#socket.on('error', (error) => {
      this.#broken = error
    })
    this.#socket.on('end', () => this.#end())
    this.#socket.on('close', () => this.user?.onClose(this.#broken))
    this.#socket.on('drain', () => this.user?.onDrain?.())
  }

  /** Nothing that was sent waits here still, and the other side can be talked to. */
  get isIdle(): boolean {
    return !this.#socket.destroyed && this.#socket.writable && this.#socket.writableLength === 0
  }

  /** Sends a head (Latin-1) and a body. */
  send(head: string, body: Buffer): void {
    if (body.length <= SMALL_BODY_BYTES) {
      this.#socket.write(head + body.toString('latin1'), 'latin1')
      return
    }
    this.#socket.cork()
    this.#socket.write(head, 'latin1')
    this.#socket.write(body)
    this.#socket.uncork()
  }

  /** Text is Latin-1. False when it did not go out at once: `onDrain` tells when to go on. */
  write(bytes: Buffer | string): boolean {
    return typeof bytes === 'string' ? this.#socket.write(bytes, 'latin1') : this.#socket.write(bytes)
  }

  /** Pieces that belong together leave together. */
  writeAll(pieces: readonly (Buffer | string)[]): boolean {
    this.#socket.cork()
    let isOut = true
    for (const piece of pieces) isOut = this.write(piece)
    this.#socket.uncork()
    return isOut
  }

  /** Reads on only after `resume`: what the function still sends waits in the kernel, and then in the function. */
  pause(): void {
    this.#socket.pause()
  }

  resume(): void {
    this.#socket.resume()
  }

  close(): void {
    this.#socket.destroy()
  }

  #read(length: number): boolean {
    if (this.user === undefined) this.#unasked()
    else this.user.onBytes(PIECE.subarray(0, length))
    return true
  }

  #end(): void {
    if (this.user === undefined) this.#unasked()
    else this.user.onEnd()
  }

  #unasked(): void {
    this.#onUnasked(this)
    this.close()
  }
}

/** One write of one string costs less than gathering two pieces, as long as copying is cheap. */
const SMALL_BODY_BYTES = 8 * 1024

/** A function that ends connections at once does so within this: one that announces nothing must have kept one longer before it is trusted to. */
const PROOF_MS = 5

/**
 * The kept-alive connections of one instance. There are never more than calls at once, since a call takes one that
 * lies idle before it dials.
 *
 * Own code, not undici's pool: forwarding an event and nothing else costs 37 µs over these connections, 56 over undici's (docs/adr/0014).
 */
export class KeptConnections {
  readonly #host: HostClient
  readonly #instance: string
  readonly #idle: KeptConnection[] = []
  #sweeper: NodeJS.Timeout | undefined
  #closed = false
  #reuseMs = REUSE_MS
  /** Whether the function is known to keep a connection after its answer. */
  #keeps = false

  /** `first` is the descriptor of the connection that proved that the instance listens. */
  constructor(host: HostClient, instance: string, first: number | undefined) {
    this.#host = host
    this.#instance = instance
    if (first !== undefined) this.#keep(this.#wrap(first), REUSE_MS)
  }

  /** The connection that was used last, if it may be used again. */
  takeIdle(): KeptConnection | undefined {
    const now = performance.now()
    for (let last = this.#idle.pop(); last !== undefined; last = this.#idle.pop()) {
      if (last.isIdle && last.idleUntil > now) {
        if (this.#keeps || last.answers === 0 || now - last.idleSince >= PROOF_MS) return last
        this.#idle.push(last)
        return undefined
      }
      last.close()
    }
    return undefined
  }

  #wrap(descriptor: number): KeptConnection {
    return new KeptConnection(descriptor, ({ idleSince }) => {
      // It announced nothing, so how long it waits is learned: half of that is safe.
      if (!this.#closed) this.#reuseMs = Math.min(this.#reuseMs, (performance.now() - idleSince) / 2)
    })
  }

  /** A new connection. Throws `dial-failed`. */
  async open(): Promise<KeptConnection> {
    return this.#wrap(await dialDescriptor(this.#host, this.#instance))
  }

  /** After a whole answer; the function keeps the connection for `keepAliveMs` as far as it said, 0 means no longer. */
  release(connection: KeptConnection, keepAliveMs: number): void {
    connection.user = undefined
    connection.answers += 1
    if (connection.answers > 1 || Number.isFinite(keepAliveMs)) this.#keeps = true
    if (this.#closed || keepAliveMs === 0 || !connection.isIdle) {
      connection.close()
      return
    }
    this.#keep(connection, Math.min(this.#reuseMs, keepAliveMs / 2))
  }

  #keep(connection: KeptConnection, reuseMs: number): void {
    const now = performance.now()
    connection.idleSince = now
    connection.idleUntil = now + reuseMs
    this.#idle.push(connection)
    this.#sweeper ??= setTimeout(() => this.#sweep(), REUSE_MS).unref()
  }

  close(): void {
    this.#closed = true
    clearTimeout(this.#sweeper)
    for (const connection of this.#idle.splice(0)) connection.close()
  }

  #sweep(): void {
    const now = performance.now()
    const kept = this.#idle.filter((connection) => {
      const mayStay = connection.isIdle && connection.idleUntil > now
      if (!mayStay) connection.close()
      return mayStay
    })
    this.#idle.splice(0, this.#idle.length, ...kept)
    this.#sweeper = kept.length === 0 ? undefined : setTimeout(() => this.#sweep(), REUSE_MS).unref()
  }
}
