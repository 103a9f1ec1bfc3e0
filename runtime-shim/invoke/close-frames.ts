/** How a WebSocket's close frame reads: its code, or null for a frame without one (RFC 6455 5.5.1, 7.1.5). */
export interface CloseFrame {
  code: number | null
}

const OPCODE_CLOSE = 8
const PROTOCOL_ERROR = 1_002

/**
 * Follows the frames of one direction of a WebSocket without keeping any of them: at most 16 bytes of state, whatever the frames' sizes
 * and however they are cut. Payloads are passed over unread, but for the code of a close frame. What is no frame ends the reading.
 */
export class CloseFrameReader {
  /** The first close frame of this direction. */
  found: CloseFrame | undefined
  readonly #head = Buffer.alloc(16)
  #have = 0
  #skip = 0
  #blind = false

  push(chunk: Buffer): void {
    let at = 0
    while (at < chunk.length && this.found === undefined && !this.#blind) {
      if (this.#skip > 0) {
        const passed = Math.min(this.#skip, chunk.length - at)
        this.#skip -= passed
        at += passed
        continue
      }
      const wanted = wantedBytes(this.#head, this.#have)
      const taken = Math.min(wanted - this.#have, chunk.length - at)
      chunk.copy(this.#head, this.#have, at, at + taken)
      this.#have += taken
      at += taken
      if (this.#have === wantedBytes(this.#head, this.#have)) this.#headRead()
    }
  }

  #headRead(): void {
    const { opcode, maskAt, payloadAt, length } = readHead(this.#head)
    if (opcode === OPCODE_CLOSE) this.found = { code: closeCode(this.#head, maskAt, payloadAt, length) }
    else if (length > Number.MAX_SAFE_INTEGER) this.#blind = true
    else this.#skip = length
    this.#have = 0
  }
}

/** How many bytes of a frame must be there: its head, and of a close frame its code too. Grows as the first two become known. */
function wantedBytes(head: Buffer, have: number): number {
  if (have < 2) return 2
  const { opcode, payloadAt, short } = readHead(head)
  return opcode === OPCODE_CLOSE && short >= 2 && short < 126 ? payloadAt + 2 : payloadAt
}

interface Head {
  opcode: number
  /** The length as its seven bits say it: 126 and 127 stand for a longer field. */
  short: number
  /** -1 without a mask. */
  maskAt: number
  payloadAt: number
  length: number
}

function readHead(head: Buffer): Head {
  const short = (head[1] ?? 0) & 0x7f
  const masked = ((head[1] ?? 0) & 0x80) !== 0
  const afterLength = short === 126 ? 4 : short === 127 ? 10 : 2
  const length = short === 126 ? head.readUInt16BE(2) : short === 127 ? Number(head.readBigUInt64BE(2)) : short
  const opcode = (head[0] ?? 0) & 0x0f
  return { opcode, short, maskAt: masked ? afterLength : -1, payloadAt: afterLength + (masked ? 4 : 0), length }
}

function closeCode(head: Buffer, maskAt: number, payloadAt: number, length: number): number | null {
  if (length === 0) return null
  if (length === 1 || length > 125) return PROTOCOL_ERROR
  const mask = maskAt === -1 ? 0 : head.readUInt16BE(maskAt)
  return head.readUInt16BE(payloadAt) ^ mask
}

export type Side = 'caller' | 'function'

/**
 * The recorded number of a WebSocket's end (facts: scf-contract 1.10) by who closed it first. A frame without a code is how browsers
 * close in order: 200 like 1000. `frame` undefined: the connection ended without the closing handshake.
 */
export function closeNumber(by: Side, frame: CloseFrame | undefined): 200 | 439 | 456 {
  const code = frame === undefined ? undefined : (frame.code ?? 1_000)
  if (code === 1_000 || (code === 1_010 && by === 'caller') || (code === 1_011 && by === 'function')) return 200
  return by === 'function' ? 439 : 456
}
