import type { IncomingMessage } from 'node:http'
import { AppError } from '../../common/index.ts'
import type { KeptConnection } from '../instances/index.ts'
import { forwardTrailers } from './headers.ts'

/** One write of one string costs less than gathering pieces, as long as copying is cheap. */
const SMALL_BYTES = 8 * 1024

/** Whether a request announces a body. */
export function hasBody({ headers }: IncomingMessage): boolean {
  return headers['transfer-encoding'] !== undefined || Number(headers['content-length'] ?? 0) > 0
}

export function announcesTrailers({ headers }: IncomingMessage): boolean {
  return headers.trailer !== undefined && headers['transfer-encoding'] !== undefined
}

/**
 * Sends a request's head and its body as it comes, framed as it came. The head waits for a body that came together with it: one packet then.
 * While the function is slower than the caller, the caller is not read.
 */
export class RequestBody {
  readonly #request: IncomingMessage
  readonly #connection: KeptConnection
  readonly #isChunked: boolean
  readonly #maxBytes: number
  readonly #onBroken: (why: Error) => void
  #head: string
  #bytes = 0
  /** All of it has been written. */
  isSent = false

  /** `onBroken` is told of `body-too-large`, or what cut the request. */
  constructor(
    request: IncomingMessage,
    head: string,
    connection: KeptConnection,
    maxBytes: number,
    onBroken: (why: Error) => void,
  ) {
    this.#request = request
    this.#head = head
    this.#connection = connection
    this.#isChunked = request.headers['transfer-encoding'] !== undefined
    this.#maxBytes = maxBytes
    this.#onBroken = onBroken
  }

  send(): void {
    const request = this.#request
    if (!hasBody(request)) {
      this.isSent = true
      this.#connection.write(this.#head)
      return
    }
    request.on('data', this.#onData).on('end', this.#onEnd).on('close', this.#onClose).on('error', this.#onClose)
    if (request.readableEnded) this.#onEnd()
    else if (request.destroyed) this.#onClose()
    else process.nextTick(() => this.#flushHead())
  }

  onDrain(): void {
    if (!this.isSent) this.#request.resume()
  }

  /** Reads the caller no further. */
  stop(): void {
    const request = this.#request
    request.off('data', this.#onData).off('end', this.#onEnd).off('close', this.#onClose).off('error', this.#onClose)
    this.#head = ''
  }

  readonly #onData = (chunk: Buffer): void => {
    this.#bytes += chunk.length
    if (this.#bytes > this.#maxBytes) {
      this.stop()
      this.#onBroken(requestTooLarge(this.#maxBytes))
      return
    }
    const before = this.#takeHead() + (this.#isChunked ? `${chunk.length.toString(16)}\r\n` : '')
    const after = this.#isChunked ? '\r\n' : ''
    const isOut =
      chunk.length <= SMALL_BYTES
        ? this.#connection.write(before + chunk.toString('latin1') + after)
        : this.#connection.writeAll([before, chunk, after].filter(({ length }) => length > 0))
    if (!isOut) this.#request.pause()
  }

  readonly #onEnd = (): void => {
    const head = this.#takeHead()
    this.stop()
    this.isSent = true
    if (this.#isChunked) this.#connection.write(`${head}0\r\n${this.#trailers()}\r\n`)
    else if (head !== '') this.#connection.write(head)
  }

  readonly #onClose = (): void => {
    this.stop()
    this.#onBroken(Object.assign(new Error('the caller ended the connection within its body'), { code: 'ECONNRESET' }))
  }

  #trailers(): string {
    if (!announcesTrailers(this.#request)) return ''
    return forwardTrailers(this.#request.rawTrailers)
      .map(([name, value]) => `${name}: ${value}\r\n`)
      .join('')
  }

  #flushHead(): void {
    const head = this.#takeHead()
    if (head !== '') this.#connection.write(head)
  }

  #takeHead(): string {
    const head = this.#head
    this.#head = ''
    return head
  }
}

/** Throws `body-too-large` for a body that is announced to be so. */
export function checkLength({ headers }: IncomingMessage, maxBytes: number): void {
  if (Number(headers['content-length'] ?? 0) > maxBytes) throw requestTooLarge(maxBytes)
}

function requestTooLarge(maxBytes: number): AppError {
  return new AppError(`the body of the request is larger than ${maxBytes} bytes`, {
    code: 'body-too-large',
    fault: 'user',
    hint: 'raise limits.requestBytes of the function',
  })
}
