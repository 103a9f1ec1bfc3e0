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
  budget: ByteBudget
  /** Longest wait for the last byte. */
  timeoutMs: number
  /** Called when the body is wanted: sends `100 Continue` to a caller that waits for it. */
  onWanted?: () => void
}

export interface HeldBody {
  bytes: Buffer
  /** Gives the bytes back to the budget: call it when nothing refers to them any more. */
  release: () => void
}

/** Reads a body whole. Throws `body-too-large`, `overloaded` (the budget is spent), `request-malformed` (it stops or is cut). */
export async function readBody(request: IncomingMessage, options: ReadBodyOptions): Promise<HeldBody> {
  const { maxBytes, budget } = options
  const announced = Number(request.headers['content-length'] ?? 0)
  if (announced > maxBytes) throw tooLarge(maxBytes)
  let held = 0
  const hold = (bytes: number): void => {
    if (bytes <= held) return
    if (!budget.take(bytes - held)) throw overBudget()
    held = bytes
  }
  const release = (): void => {
    budget.give(held)
    held = 0
  }
  try {
    hold(announced)
    options.onWanted?.()
    const bytes = await collect(request, options, hold)
    return { bytes, release }
  } catch (thrown) {
    release()
    throw thrown
  }
}

function collect(request: IncomingMessage, options: ReadBodyOptions, hold: (bytes: number) => void): Promise<Buffer> {
  const { promise, resolve, reject } = Promise.withResolvers<Buffer>()
  const chunks: Buffer[] = []
  let length = 0
  const onData = (chunk: Buffer): void => {
    length += chunk.length
    try {
      if (length > options.maxBytes) throw tooLarge(options.maxBytes)
      hold(length)
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
