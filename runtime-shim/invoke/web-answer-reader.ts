import {
  announcedMs,
  type Framing,
  framingFields,
  framingOf,
  HEAD_END,
  headTooLarge,
  MAX_HEAD_BYTES,
  statusOf,
} from './answer-framing.ts'
import { malformed } from './malformed.ts'

/** Whom a web function's answer is told to, as it arrives. Names and values alternate. */
export interface AnswerSink {
  /** 1xx but 101: the answer is still to come. */
  interim(status: number, rawHeaders: string[]): void
  /** `length` of the body, where it was announced. */
  head(status: number, rawHeaders: string[], length: number | undefined): void
  /** Another one's bytes when this returns. */
  data(piece: Buffer): void
  end(rawTrailers: string[]): void
}

/**
 * Reads one HTTP/1.1 answer from the pieces in which it arrives and passes it on, holding nothing but a head that is not complete.
 * Whatever can be read in two ways is refused.
 */
export class WebAnswerReader {
  readonly #isHead: boolean
  readonly #sink: AnswerSink
  #early: Buffer | undefined
  #headBytes = 0
  #framing: Framing | undefined
  #left = 0
  #keepAliveMs = 0
  isOver = false

  constructor(method: string, sink: AnswerSink) {
    this.#isHead = method === 'HEAD'
    this.#sink = sink
  }

  /** How long the function will keep the connection after this answer: 0 when it is to be closed. */
  get keepAliveMs(): number {
    return this.#framing === 'until-end' ? 0 : this.#keepAliveMs
  }

  get hasBegun(): boolean {
    return this.#headBytes > 0 || this.#early !== undefined
  }

  /** `bytes` are the caller's again when this returns. Throws `answer-malformed`, and what the sink throws. */
  push(bytes: Buffer): void {
    const rest = this.#framing === undefined ? this.#readHeads(bytes) : bytes
    if (rest !== undefined && this.#framing !== undefined) this.#readBody(rest, this.#framing)
  }

  /** The function has said its last byte; answers whether that is how the answer ends. */
  end(): boolean {
    if (this.#framing !== 'until-end' || this.isOver) return false
    this.#over([])
    return true
  }

  #readHeads(bytes: Buffer): Buffer | undefined {
    let rest = this.#early === undefined ? bytes : Buffer.concat([this.#early, bytes])
    for (let end = rest.indexOf(HEAD_END); end !== -1; end = rest.indexOf(HEAD_END)) {
      this.#headBytes += end + HEAD_END.length
      if (this.#headBytes > MAX_HEAD_BYTES) throw headTooLarge()
      this.#readHead(rest.toString('latin1', 0, end))
      rest = rest.subarray(end + HEAD_END.length)
      if (this.#framing !== undefined) return rest
    }
    if (this.#headBytes + rest.length > MAX_HEAD_BYTES) throw headTooLarge()
    this.#early = rest.length === 0 ? undefined : Buffer.from(rest)
    return undefined
  }

  #readHead(head: string): void {
    const lineEnd = head.indexOf('\r\n')
    const line = lineEnd === -1 ? head : head.slice(0, lineEnd)
    const status = statusOf(line)
    if (status === 101) throw malformed('it switches protocols, which nobody asked for')
    const rawHeaders: string[] = []
    const fields = framingFields(head, line.length + 2, (name, value) => rawHeaders.push(name, value))
    if (status < 200) {
      this.#sink.interim(status, rawHeaders)
      return
    }
    const framing = framingOf(fields)
    const hasBody = !this.#isHead && status !== 204 && status !== 304
    this.#framing = hasBody ? framing : 0
    this.#left = typeof this.#framing === 'number' ? this.#framing : 0
    this.#keepAliveMs = announcedMs(line.startsWith('HTTP/1.1'), fields)
    this.#sink.head(status, rawHeaders, typeof this.#framing === 'number' ? this.#framing : undefined)
  }

  #readBody(bytes: Buffer, framing: Framing): void {
    if (this.isOver) {
      // Bytes behind the end answer nothing that was asked.
      if (bytes.length > 0) this.#keepAliveMs = 0
    } else if (typeof framing === 'object') {
      const isEnd = framing.push(bytes, (piece) => this.#sink.data(piece))
      if (framing.extraBytes > 0) this.#keepAliveMs = 0
      if (isEnd) this.#over(trailersOf(framing.trailers))
    } else if (framing === 'until-end') {
      if (bytes.length > 0) this.#sink.data(bytes)
    } else {
      if (bytes.length > this.#left) this.#keepAliveMs = 0
      const piece = bytes.length > this.#left ? bytes.subarray(0, this.#left) : bytes
      this.#left -= piece.length
      if (piece.length > 0) this.#sink.data(piece)
      if (this.#left === 0) this.#over([])
    }
  }

  #over(rawTrailers: string[]): void {
    this.isOver = true
    this.#sink.end(rawTrailers)
  }
}

function trailersOf(lines: readonly string[]): string[] {
  const raw: string[] = []
  if (lines.length > 0) framingFields(lines.join('\r\n'), 0, (name, value) => raw.push(name, value))
  return raw
}
