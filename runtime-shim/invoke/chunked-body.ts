import { malformed } from './malformed.ts'

/** A line of sizes with its extensions, and all trailers together. */
const MAX_LINE_BYTES = 4 * 1024
const MAX_TRAILER_BYTES = 16 * 1024

const LF = 0x0a

/** Takes the chunks of a body apart as they arrive (RFC 9112 7.1). Extensions are passed over. */
export class ChunkedBody {
  #state: 'size' | 'data' | 'data-end' | 'trailers' | 'ended' = 'size'
  /** Bytes of the present chunk that have not come yet. */
  #missing = 0
  #line = ''
  #trailerBytes = 0
  /** Bytes that came behind the end. */
  extraBytes = 0
  /** The lines behind the last chunk. */
  readonly trailers: string[] = []

  /** Gives each piece of the body to `take`, as views on `bytes`; answers whether the body has ended. Throws `answer-malformed`. */
  push(bytes: Buffer, take: (piece: Buffer) => void): boolean {
    let at = 0
    while (at < bytes.length && this.#state !== 'ended') {
      at = this.#state === 'data' ? this.#readData(bytes, at, take) : this.#readLine(bytes, at)
    }
    this.extraBytes += bytes.length - at
    return this.#state === 'ended'
  }

  #readData(bytes: Buffer, at: number, take: (piece: Buffer) => void): number {
    const piece = bytes.subarray(at, at + this.#missing)
    take(piece)
    this.#missing -= piece.length
    if (this.#missing === 0) this.#state = 'data-end'
    return at + piece.length
  }

  #readLine(bytes: Buffer, at: number): number {
    const end = bytes.indexOf(LF, at)
    const next = end === -1 ? bytes.length : end + 1
    this.#line += bytes.toString('latin1', at, next)
    if (this.#line.length > MAX_LINE_BYTES) throw malformed('a line between its chunks is longer than 4 KB')
    if (end === -1) return next
    if (!this.#line.endsWith('\r\n')) throw malformed('a line between its chunks does not end in CR LF')
    const line = this.#line.slice(0, -2)
    this.#line = ''
    this.#endLine(line)
    return next
  }

  #endLine(line: string): void {
    if (this.#state === 'size') {
      const size = /^([0-9a-f]{1,8})[ \t]*(?:;.*)?$/i.exec(line)?.[1]
      if (size === undefined) throw malformed(`a chunk has the size "${line.slice(0, 100)}"`)
      this.#missing = Number.parseInt(size, 16)
      this.#state = this.#missing === 0 ? 'trailers' : 'data'
    } else if (this.#state === 'data-end') {
      if (line !== '') throw malformed('a chunk is longer than its size')
      this.#state = 'size'
    } else {
      this.#trailerBytes += line.length
      if (this.#trailerBytes > MAX_TRAILER_BYTES) throw malformed('its trailers are larger than 16 KB')
      if (line === '') this.#state = 'ended'
      else this.trailers.push(line)
    }
  }
}
