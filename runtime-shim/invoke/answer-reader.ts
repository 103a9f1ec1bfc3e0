import { AppError } from '../../common/index.ts'
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

/** Largest answer of an event call: one byte more is 407 (facts: scf-contract 1.8). */
export const MAX_ANSWER_BYTES = 6 * 1024 * 1024

export interface EventAnswer {
  status: number
  body: string
}

/**
 * Reads one HTTP/1.1 answer to a POST from the pieces in which it arrives, and says whether the connection may be used again. Only what
 * frames the message is looked at: no other header of an event's answer means anything. Whatever can be read in two ways is refused.
 */
export class AnswerReader {
  /** The beginning of a head that is not complete. */
  #early: Buffer | undefined
  #headBytes = 0
  #status = 0
  #framing: Framing | undefined
  #pieces: Buffer[] = []
  #bodyBytes = 0
  #keepAliveMs = Number.POSITIVE_INFINITY

  /** How long the function will keep the connection after this answer: 0 when it is to be closed. */
  get keepAliveMs(): number {
    return this.#framing === 'until-end' ? 0 : this.#keepAliveMs
  }

  /** Bytes of the body that are held. */
  get bodyBytes(): number {
    return this.#bodyBytes
  }

  /**
   * The answer once it is complete. `bytes` are the caller's again when this returns.
   * Throws `answer-malformed`, `answer-too-large`.
   */
  push(bytes: Buffer): EventAnswer | undefined {
    const rest = this.#framing === undefined ? this.#readHead(bytes) : bytes
    return rest === undefined || this.#framing === undefined ? undefined : this.#readBody(rest, this.#framing)
  }

  /** The function has said its last byte: the answer, if that is how it ends. */
  end(): EventAnswer | undefined {
    return this.#framing === 'until-end' ? this.#answer(Buffer.concat(this.#pieces)) : undefined
  }

  /** What follows the head, or undefined when the head is not complete. */
  #readHead(bytes: Buffer): Buffer | undefined {
    let rest = this.#early === undefined ? bytes : Buffer.concat([this.#early, bytes])
    for (let end = rest.indexOf(HEAD_END); end !== -1; end = rest.indexOf(HEAD_END)) {
      this.#countHead(end)
      this.#parseHead(rest.toString('latin1', 0, end))
      rest = rest.subarray(end + HEAD_END.length)
      if (this.#framing !== undefined) return rest
    }
    this.#countHead(0)
    if (this.#headBytes + rest.length > MAX_HEAD_BYTES) throw headTooLarge()
    this.#early = Buffer.from(rest)
    return undefined
  }

  #countHead(bytes: number): void {
    this.#headBytes += bytes
    if (this.#headBytes > MAX_HEAD_BYTES) throw headTooLarge()
  }

  /** Leaves the framing undefined after an interim answer (RFC 9110 15.2): another head follows. */
  #parseHead(head: string): void {
    const lineEnd = head.indexOf('\r\n')
    const line = lineEnd === -1 ? head : head.slice(0, lineEnd)
    this.#status = statusOf(line)
    if (this.#status === 101) throw malformed('it switches protocols, which nobody asked for')
    if (this.#status < 200) return
    const fields = framingFields(head, line.length + 2)
    this.#framing = this.#status === 204 || this.#status === 304 ? 0 : framingOf(fields)
    this.#keepAliveMs = announcedMs(line.startsWith('HTTP/1.1'), fields)
  }

  #readBody(bytes: Buffer, framing: Framing): EventAnswer | undefined {
    if (typeof framing === 'object') {
      const isEnd = framing.push(bytes, (piece) => this.#keep(piece))
      if (framing.extraBytes > 0) this.#keepAliveMs = 0
      return isEnd ? this.#answer(Buffer.concat(this.#pieces)) : undefined
    }
    if (framing === 'until-end') {
      this.#keep(bytes)
      return undefined
    }
    if (framing > MAX_ANSWER_BYTES) throw answerTooLarge()
    const missing = framing - this.#bodyBytes
    // Bytes behind the end answer nothing that was asked.
    if (bytes.length > missing) this.#keepAliveMs = 0
    if (bytes.length < missing) {
      this.#keep(bytes)
      return undefined
    }
    const last = bytes.subarray(0, missing)
    this.#bodyBytes = framing
    return this.#answer(this.#pieces.length === 0 ? last : Buffer.concat([...this.#pieces, last]))
  }

  #keep(piece: Buffer): void {
    this.#bodyBytes += piece.length
    if (this.#bodyBytes > MAX_ANSWER_BYTES) throw answerTooLarge()
    if (piece.length > 0) this.#pieces.push(Buffer.from(piece))
  }

  #answer(body: Buffer): EventAnswer {
    return { status: this.#status, body: body.toString('utf8') }
  }
}

function answerTooLarge(): AppError {
  return new AppError('The size of response exceeds the upper limit (6MB)', { code: 'answer-too-large', fault: 'user' })
}
