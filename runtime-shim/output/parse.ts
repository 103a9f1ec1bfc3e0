import { GrowingBuffer } from './growing-buffer.ts'
import { HeadReader, type LineHead } from './stamp.ts'

/** A place in the output of an instance: file numbers start at 1 and grow with each rotation. */
export interface Position {
  file: number
  offset: number
}

export type OutputStream = 'stdout' | 'stderr'

/** Up to which place each stream has been copied; they differ while one of them has an unfinished line. */
export type Positions = Record<OutputStream, Position>

/** A whole line as the function wrote it, without its newline. */
export interface ParsedLine {
  stream: OutputStream
  /** Stamps of its first and its last piece, microseconds since 1970. */
  firstUs: number
  lastUs: number
  /** Shares memory with the pushed chunk: to be used before the next push. */
  text: Buffer
  /** The line goes on: the next line of this stream is its continuation. */
  continues: boolean
}

/** Longer lines are given in pieces of at most this size, all but the last marked `continues`: nothing is lost. */
export const MAX_LINE_BYTES = 2 * 1024 * 1024
/** conmon's own lines are at most 8 KB and a head; a longer one is no output of conmon, and its rest is dropped. */
const MAX_RAW_BYTES = MAX_LINE_BYTES + 64

const NEWLINE = 10

interface Unfinished {
  text: GrowingBuffer
  firstUs: number
  lastUs: number
  start: Position
}

export interface ParserOptions {
  /** Where reading starts. Default: the beginning of file 1. */
  from?: Position
  /** Lines that begin before these places were copied already and are skipped. */
  copied?: Positions
  maxLineBytes?: number
}

/**
 * Turns the bytes of conmon's k8s-file format into lines: `TIME STREAM F TEXT` is a whole line or the last piece of one, `P` an earlier
 * piece. Pieces are joined for each stream, also over a rotation. Where chunks are cut does not matter. Bytes of the text are never changed.
 * A line that is not of the format counts as stdout, with the time of the line before it.
 */
export class OutputParser {
  /** Bytes of lines that no newline ended within the bound; they are lost. */
  droppedBytes = 0
  readonly #maxLineBytes: number
  readonly #copied: Positions | undefined
  readonly #heads = new HeadReader()
  readonly #unfinished = new Map<OutputStream, Unfinished>()
  /** Place of the first byte that belongs to no complete raw line yet. */
  #file: number
  #offset: number
  /** The raw line whose newline has not come. */
  readonly #raw = new GrowingBuffer()
  #rawDropped = 0
  #lastUs = 0

  constructor(options: ParserOptions = {}) {
    this.#maxLineBytes = options.maxLineBytes ?? MAX_LINE_BYTES
    const { copied } = options
    this.#copied = copied === undefined ? undefined : { stdout: { ...copied.stdout }, stderr: { ...copied.stderr } }
    this.#file = options.from?.file ?? 1
    this.#offset = options.from?.offset ?? 0
  }

  /** Takes the next bytes of the current file. */
  push(chunk: Buffer): ParsedLine[] {
    const lines: ParsedLine[] = []
    let at = 0
    while (at < chunk.length) {
      const newline = chunk.indexOf(NEWLINE, at)
      if (newline < 0) {
        this.#keepRaw(chunk.subarray(at))
        break
      }
      if (this.#raw.length === 0 && this.#rawDropped === 0) this.#rawLine(chunk, at, newline, newline - at + 1, lines)
      else this.#finishRaw(chunk.subarray(at, newline), lines)
      at = newline + 1
    }
    return lines
  }

  /** No more bytes come of this file: its last line, should it have no newline. */
  endFile(): ParsedLine[] {
    const lines: ParsedLine[] = []
    if (this.#raw.length > 0) this.#finishRaw(Buffer.alloc(0), lines)
    return lines
  }

  /** The next bytes are those of another place: unfinished lines go on there, but half a raw line is lost. */
  moveTo(position: Position): void {
    this.droppedBytes += this.#raw.length + this.#rawDropped
    this.#raw.clear()
    this.#rawDropped = 0
    this.#file = position.file
    this.#offset = position.offset
  }

  /** File `from` turns out to have number `to`. */
  renumber(from: number, to: number): void {
    if (this.#file === from) this.#file = to
    for (const { start } of this.#unfinished.values()) if (start.file === from) start.file = to
    for (const place of Object.values(this.#copied ?? {})) if (place.file === from) place.file = to
  }

  /** Gives the unfinished lines as they are: `continues`, unless nothing follows. */
  release(continues: boolean): ParsedLine[] {
    const lines = [...this.#unfinished].map(([stream, unfinished]) => asLine(stream, unfinished, continues))
    this.#unfinished.clear()
    return lines
  }

  /** Where copying would have to go on for each stream if everything given so far were stored. */
  positions(): Positions {
    const here = { file: this.#file, offset: this.#offset }
    return {
      stdout: this.#unfinished.get('stdout')?.start ?? here,
      stderr: this.#unfinished.get('stderr')?.start ?? here,
    }
  }

  /** Memory held for lines that have not ended. */
  heldBytes(): number {
    let held = this.#raw.capacity
    for (const { text } of this.#unfinished.values()) held += text.capacity
    return held
  }

  /** Unfinished lines, to look at: they are not taken. */
  peek(): ParsedLine[] {
    return [...this.#unfinished].map(([stream, unfinished]) => asLine(stream, unfinished, true))
  }

  #keepRaw(bytes: Buffer): void {
    const room = Math.max(0, MAX_RAW_BYTES - this.#raw.length)
    this.#raw.append(bytes.subarray(0, room))
    this.#rawDropped += Math.max(0, bytes.length - room)
  }

  #finishRaw(rest: Buffer, lines: ParsedLine[]): void {
    this.#keepRaw(rest)
    const raw = Buffer.from(this.#raw.bytes())
    const rawBytes = raw.length + this.#rawDropped + 1
    this.droppedBytes += this.#rawDropped
    this.#raw.clear()
    this.#rawDropped = 0
    this.#rawLine(raw, 0, raw.length, rawBytes, lines)
  }

  #rawLine(bytes: Buffer, from: number, to: number, rawBytes: number, lines: ParsedLine[]): void {
    const start = { file: this.#file, offset: this.#offset }
    this.#offset += rawBytes
    const head: LineHead = this.#heads.read(bytes, from, to) ?? {
      timeUs: this.#lastUs,
      isError: false,
      isPartial: false,
      textAt: from,
    }
    this.#lastUs = head.timeUs
    const stream = head.isError ? 'stderr' : 'stdout'
    if (this.#copied !== undefined && isBefore(start, this.#copied[stream])) return
    this.#piece(stream, head, bytes.subarray(head.textAt, to), start, lines)
  }

  #piece(stream: OutputStream, head: LineHead, text: Buffer, start: Position, lines: ParsedLine[]): void {
    const { timeUs, isPartial } = head
    let unfinished = this.#unfinished.get(stream)
    if (unfinished !== undefined && unfinished.text.length + text.length > this.#maxLineBytes) {
      lines.push(asLine(stream, unfinished, true))
      this.#unfinished.delete(stream)
      unfinished = undefined
    }
    if (unfinished === undefined) {
      if (!isPartial) {
        lines.push({ stream, firstUs: timeUs, lastUs: timeUs, text, continues: false })
        return
      }
      unfinished = { text: new GrowingBuffer(), firstUs: timeUs, lastUs: timeUs, start }
      this.#unfinished.set(stream, unfinished)
    }
    unfinished.text.append(text)
    unfinished.lastUs = timeUs
    if (isPartial) return
    lines.push(asLine(stream, unfinished, false))
    this.#unfinished.delete(stream)
  }
}

function asLine(stream: OutputStream, unfinished: Unfinished, continues: boolean): ParsedLine {
  const { firstUs, lastUs, text } = unfinished
  return { stream, firstUs, lastUs, text: text.bytes(), continues }
}

export function isBefore(a: Position, b: Position): boolean {
  return a.file < b.file || (a.file === b.file && a.offset < b.offset)
}

/** The earlier of both streams' places: where reading has to start again. */
export function earliest(positions: Positions): Position {
  return isBefore(positions.stderr, positions.stdout) ? positions.stderr : positions.stdout
}
