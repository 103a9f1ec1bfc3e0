import type { IncomingMessage } from 'node:http'
import { AppError } from '../../common/index.ts'

/** All bodies that are held in memory at once share one budget. */
export class ByteBudget {
  #free: number

  constructor(bytes: number) {
    this.#free = bytes
  }

  get freeBytes(): number {
    return this.#free
  }

  take(bytes: number): boolean {
    if (bytes > this.#free) return false
    this.#free -= bytes
    return true
  }

  give(bytes: number): void {
    this.#free += bytes
  }
}

export interface ReadBodyOptions {
  maxBytes: number
  /** Longest wait for the last byte. */
  timeoutMs: number
  /** Called when the body is wanted: sends `100 Continue` to a caller that waits for it. */
  onWanted?: () => void
}

/** A body, and what else is kept in memory for its call: counted against the budget until it is released. */
export class HeldBody {
  readonly #budget: ByteBudget
  #held = 0
  /** The call is over: what still comes in is not kept. */
  #released = false
  bytes: Buffer = EMPTY

  constructor(budget: ByteBudget) {
    this.#budget = budget
  }

  get heldBytes(): number {
    return this.#held
  }

  /** Takes room for so many bytes more; false when there is none. */
  hold(bytes: number): boolean {
    if (this.#released || !this.#budget.take(bytes)) return false
    this.#held += bytes
    return true
  }

  /** Gives everything back: call it when nothing refers to the bytes any more. */
  release(): void {
    this.#released = true
    this.#budget.give(this.#held)
    this.#held = 0
  }
}

const EMPTY = Buffer.alloc(0)

/** Reads a body whole into `body`. Throws `body-too-large`, `overloaded` (the budget is spent), `request-malformed` (it stops or is cut). */
export async function readBody(request: IncomingMessage, body: HeldBody, options: ReadBodyOptions): Promise<void> {
  const { maxBytes } = options
  const announced = Number(request.headers['content-length'] ?? 0)
  if (announced > maxBytes) throw tooLarge(maxBytes)
  // It left while its call waited: nobody would tell of its end again.
  if (request.destroyed) throw cut('the connection ended before the body was read')
  const grow = (length: number): void => {
    if (length > maxBytes) throw tooLarge(maxBytes)
    if (length > body.heldBytes && !body.hold(length - body.heldBytes)) throw overBudget()
  }
  grow(announced)
  options.onWanted?.()
  // The parser is in the midst of what it was given: a body that came together with the head is here a moment later, and costs no listeners.
  await Promise.resolve()
  const isHere = announced > 0 && request.readableLength === announced
  body.bytes = isHere ? (request.read() as Buffer) : await collect(request, options, grow)
  grow(body.bytes.length)
}

function collect(request: IncomingMessage, options: ReadBodyOptions, grow: (length: number) => void): Promise<Buffer> {
  const { promise, resolve, reject } = Promise.withResolvers<Buffer>()
  const chunks: Buffer[] = []
  let length = 0
  const onData = (chunk: Buffer): void => {
    length += chunk.length
    try {
      grow(length)
      chunks.push(chunk)
    } catch (thrown) {
      settle()
      reject(thrown)
    }
  }
  const onEnd = (): void => {
    settle()
    resolve(chunks.length === 1 && chunks[0] !== undefined ? chunks[0] : Buffer.concat(chunks))
  }
  const fail = (why: string): void => {
    settle()
    reject(cut(why))
  }
  const onClose = (): void => fail('the connection ended within the body')
  const timer = setTimeout(fail, options.timeoutMs, `the body did not end within ${options.timeoutMs / 1_000} s`)
  // At once, not in a promise's turn: `close` follows `end` before that and would make an error for each call.
  const settle = (): void => {
    clearTimeout(timer)
    request.off('data', onData).off('end', onEnd).off('close', onClose).off('error', onClose)
  }
  request.on('data', onData).on('end', onEnd).on('close', onClose).on('error', onClose)
  return promise
}

function tooLarge(maxBytes: number): AppError {
  return new AppError(`the body is larger than ${maxBytes / 1024 / 1024} MB`, { code: 'body-too-large', fault: 'user' })
}

function overBudget(): AppError {
  return new AppError('the platform holds as many bodies as its memory budget allows', {
    code: 'overloaded',
    retryable: true,
    hint: 'call again in a moment',
  })
}

function cut(why: string): AppError {
  return new AppError(`the request is incomplete: ${why}`, { code: 'request-malformed', fault: 'user' })
}
