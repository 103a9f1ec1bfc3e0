import type { IncomingMessage, ServerResponse } from 'node:http'
import { forwardResponseHeaders, forwardTrailers } from './headers.ts'

/** What can be told to wait: undici's controller and node:http's message alike. */
interface Source {
  pause(): unknown
  resume(): unknown
}

/** The caller's side of a web call: writes the function's answer as it comes, whichever client read it. */
export class CallerAnswer {
  readonly #request: IncomingMessage
  readonly #response: ServerResponse
  readonly #requestId: string

  constructor(request: IncomingMessage, response: ServerResponse, requestId: string) {
    this.#request = request
    this.#response = response
    this.#requestId = requestId
  }

  /** The final head (200 or more). Throws when node:http cannot write it. */
  head(status: number, rawHeaders: readonly string[]): void {
    const { method, httpVersion } = this.#request
    // Only a chunked answer has trailers; node:http throws when `Trailer` is announced on another.
    const chunked =
      httpVersion === '1.1' && method !== 'HEAD' && isChunked(rawHeaders) && status !== 204 && status !== 304
    const without = [...(chunked ? [] : ['trailer']), ...(status === 204 ? ['content-length'] : [])]
    this.#response.writeHead(status, forwardResponseHeaders(rawHeaders, this.#requestId, without))
    this.#response.flushHeaders()
  }

  /** One piece of the body; `source` waits while the caller is slower. */
  data(chunk: Buffer, source: Source): void {
    if (this.#response.write(chunk)) return
    source.pause()
    this.#response.once('drain', () => source.resume())
  }

  end(rawTrailers: readonly string[]): void {
    const trailers = forwardTrailers(rawTrailers)
    if (trailers.length > 0) this.#response.addTrailers(trailers)
    this.#response.end()
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
    })
    response.end(text)
  }
}

function isChunked(rawHeaders: readonly string[]): boolean {
  return rawHeaders.some((name, at) => at % 2 === 0 && name.toLowerCase() === 'transfer-encoding')
}
