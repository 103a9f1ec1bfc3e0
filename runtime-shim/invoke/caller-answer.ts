import type { IncomingMessage, ServerResponse } from 'node:http'
import { AppError } from '../../common/index.ts'
import { takeBlock } from './blocks.ts'
import { forwardInterimHeaders, forwardResponseHeaders, forwardTrailers } from './headers.ts'
import type { AnswerSink } from './web-answer-reader.ts'

/** What can be told to wait: where the answer comes from. */
export interface Source {
  pause(): unknown
  resume(): unknown
}

export interface AnswerLimits {
  responseBytes: number
  responseHeaderBytes: number
}

/** Text is written together with its head, which costs less as long as copying is cheap. */
const SMALL_BYTES = 8 * 1024

/** The caller's side of a web call: writes the function's answer as it comes. */
export class CallerAnswer implements AnswerSink {
  readonly #request: IncomingMessage
  readonly #response: ServerResponse
  readonly #requestId: string
  readonly #limits: AnswerLimits
  #bytes = 0
  /** The last piece: it goes out with the end if that comes in the same moment. */
  #held: Buffer | undefined
  #isTold = false
  #waits = false
  /** Waits while the caller is slower. */
  source: Source | undefined

  constructor(request: IncomingMessage, response: ServerResponse, requestId: string, limits: AnswerLimits) {
    this.#request = request
    this.#response = response
    this.#requestId = requestId
    this.#limits = limits
  }

  get isWaiting(): boolean {
    return this.#waits
  }

  /** RFC 9110 15.2: passed on, but not to HTTP/1.0. 100 goes to the caller once, and only if it asked. */
  interim(status: number, rawHeaders: string[]): void {
    const { httpVersion, headers } = this.#request
    if (httpVersion !== '1.1' || this.#response.headersSent) return
    if (status !== 100) this.#response.writeInformation(status, forwardInterimHeaders(rawHeaders))
    else if (headers.expect !== undefined) this.goOn()
  }

  /** Tells a caller that waits for it to send its body. */
  goOn(): void {
    if (this.#isTold || this.#response.headersSent || this.#response.destroyed) return
    this.#isTold = true
    this.#response.writeContinue()
  }

  /** The final head (200 or more). Throws `answer-too-large`, and when node:http cannot write it. */
  head(status: number, rawHeaders: readonly string[], length: number | undefined): void {
    const { method, httpVersion } = this.#request
    this.#checkHead(rawHeaders)
    if (length !== undefined) this.#checkBody(length)
    // Only a chunked answer has trailers; node:http throws when `Trailer` is announced on another.
    const chunked =
      httpVersion === '1.1' && method !== 'HEAD' && isChunked(rawHeaders) && status !== 204 && status !== 304
    const without = [...(chunked ? [] : ['trailer']), ...(status === 204 ? ['content-length'] : [])]
    this.#response.writeHead(status, forwardResponseHeaders(rawHeaders, this.#requestId, without))
  }

  /** One piece of the body. Throws `answer-too-large`. */
  data(piece: Buffer): void {
    this.#bytes += piece.length
    this.#checkBody(this.#bytes)
    this.#writeHeld()
    this.#held = piece
  }

  end(rawTrailers: readonly string[]): void {
    const trailers = forwardTrailers(rawTrailers)
    const held = this.#held
    this.#held = undefined
    if (trailers.length > 0) {
      if (held !== undefined) this.#write(held)
      this.#response.addTrailers(trailers)
      this.#response.end()
    } else if (held === undefined) this.#response.end()
    else if (held.length <= SMALL_BYTES) this.#response.end(held.toString('latin1'), 'latin1')
    else {
      this.#writeCopy(held)
      this.#response.end()
    }
  }

  /** Whatever has been given so far is on its way to the caller; bytes given are the giver's again. */
  flush(): void {
    this.#writeHeld()
    const { headersSent, writableEnded } = this.#response
    if (this.#bytes === 0 && headersSent && !writableEnded) this.#response.flushHeaders()
  }

  /** A failure of ours. After the head is out the only honest end is a cut: half an answer must not pass for a whole one (runtime-contract G13). */
  fail(body: Record<string, unknown>, number: number, status: number): void {
    const response = this.#response
    if (response.headersSent || number === 499) {
      response.destroy()
      return
    }
    const text = JSON.stringify(body)
    response.writeHead(status, {
      'content-type': 'application/json',
      'content-length': Buffer.byteLength(text),
      'x-slipway-status': String(number),
      'x-request-id': this.#requestId,
      // A caller that was not told to continue may send its body or not: only a new connection is certain.
      ...(this.#request.headers.expect === undefined || this.#request.complete ? {} : { connection: 'close' }),
    })
    response.end(text)
  }

  #writeHeld(): void {
    const held = this.#held
    if (held === undefined) return
    this.#held = undefined
    this.#write(held)
  }

  #write(piece: Buffer): void {
    if (this.#writeCopy(piece) || this.#waits) return
    const { source } = this
    this.#waits = true
    source?.pause()
    this.#response.once('drain', () => {
      this.#waits = false
      if (this.source === source) source?.resume()
    })
  }

  #writeCopy(piece: Buffer): boolean {
    if (piece.length <= SMALL_BYTES) return this.#response.write(Buffer.from(piece))
    const { bytes, give } = takeBlock(piece)
    return this.#response.write(bytes, give)
  }

  #checkHead(rawHeaders: readonly string[]): void {
    const { responseHeaderBytes } = this.#limits
    const bytes = rawHeaders.reduce((sum, { length }) => sum + length, 0)
    if (bytes > responseHeaderBytes)
      throw tooLarge(`The headers of the response exceed the upper limit (${sizeText(responseHeaderBytes)})`)
  }

  #checkBody(bytes: number): void {
    const { responseBytes } = this.#limits
    if (bytes > responseBytes)
      throw tooLarge(`The size of response exceeds the upper limit (${sizeText(responseBytes)})`)
  }
}

function isChunked(rawHeaders: readonly string[]): boolean {
  return rawHeaders.some((name, at) => at % 2 === 0 && name.toLowerCase() === 'transfer-encoding')
}

function tooLarge(message: string): AppError {
  return new AppError(message, { code: 'answer-too-large', fault: 'user' })
}

function sizeText(bytes: number): string {
  if (bytes % 1024 ** 2 === 0) return `${bytes / 1024 ** 2}MB`
  return bytes % 1024 === 0 ? `${bytes / 1024}KB` : `${bytes} bytes`
}
