import { closeSync, fstatSync, read as readCallback } from 'node:fs'
import { promisify } from 'node:util'
import type { InstanceCalls } from './attribute.ts'
import { BatchBuilder } from './batch.ts'
import { nowUs } from './clock.ts'
import type { FunctionLog } from './function-log.ts'
import { earliest, OutputParser, type ParsedLine, type Position } from './parse.ts'
import type { OpenOutput, OutputSource } from './source.ts'

const read = promisify(readCallback)

export interface TailLimits {
  /** The current output file is rotated when it has grown to this. Default 16 MB. */
  rotateBytes: number
  /** With more than this not yet copied, all but the newest is given up, counted and shown. Default 256 MB: more would not be kept anyway. */
  backlogBytes: number
}

export const DEFAULT_TAIL_LIMITS: TailLimits = {
  rotateBytes: 16 * 1024 * 1024,
  backlogBytes: 256 * 1024 * 1024,
}

/** What is left of a backlog that is given up. */
const KEPT_BYTES = 1024 * 1024
const ROTATE_RETRY_MS = 1000
const NEWLINE = 10
/** Call spans are kept for lines that conmon may have stamped but not yet written. */
const SETTLED_US = 1_000_000

export type TurnResult =
  /** There is more to copy now. */
  | 'more'
  /** Everything in the files is copied. */
  | 'drained'
  /** The supervisor has been asked for a file; `onAnswer` tells when to come back. */
  | 'asking'

export interface TailOptions {
  instance: string
  source: OutputSource
  log: FunctionLog
  calls: InstanceCalls
  limits: TailLimits
  /** Told when an answer has come that a turn waited for. */
  onAnswer: (failure: unknown) => void
}

/**
 * Copies the output of one instance, a chunk at a time. All that it must remember is in the log's batches: a new one goes on where the last
 * stored batch ended. Turns must not overlap.
 */
export class InstanceTail {
  /** Bytes of the instance's output files that were given up. */
  droppedBytes = 0
  readonly #options: TailOptions
  readonly #batch = new BatchBuilder()
  readonly #parser: OutputParser
  #fd = -1
  /** Where the next chunk is read. File 0: nothing has been opened and nothing is known. */
  #place: Position
  #isRotated = false
  #isEnded = false
  #isClosed = false
  #isAsking = false
  /** There is no output file: an instance that ended before it began. */
  #hasNothing = false
  #rotateFromMs = 0
  /** A batch that could not be stored yet: nothing is read before it is. */
  #unstored: Buffer | undefined

  constructor(options: TailOptions) {
    this.#options = options
    const copied = options.log.attach(options.instance)
    this.#place = copied === undefined ? { file: 0, offset: 0 } : { ...earliest(copied) }
    this.#parser = new OutputParser({ from: this.#place, ...(copied === undefined ? {} : { copied }) })
  }

  /** Memory held for unfinished lines. */
  heldBytes(): number {
    return this.#parser.heldBytes()
  }

  /** Copies up to one chunk, with `chunk` as memory. */
  async turn(chunk: Buffer): Promise<TurnResult> {
    if (this.#isAsking) return 'asking'
    if (this.#unstored !== undefined) await this.#store(this.#unstored)
    if (this.#fd < 0 && this.#isEnded && this.#hasNothing) return 'drained'
    if (this.#fd < 0) return this.#ask(() => this.#openFirst())
    const { limits } = this.#options
    const size = fstatSync(this.#fd).size
    if (!this.#isRotated && size >= limits.rotateBytes) this.#rotate()
    if (size - this.#place.offset > limits.backlogBytes) await this.#giveUp(size)
    if (this.#place.offset < size) {
      await this.#copy(chunk)
      return 'more'
    }
    if (this.#isRotated) return this.#ask(() => this.#nextFile())
    this.#options.calls.forgetBefore(nowUs() - SETTLED_US)
    return 'drained'
  }

  /** Gives unfinished lines out now, as lines that continue: their memory is needed. */
  async releaseHeld(): Promise<void> {
    this.#take(this.#parser.release(true))
    await this.#storeBatch()
  }

  /** The instance has ended: its file is not rotated any more. */
  markEnded(): void {
    this.#isEnded = true
  }

  /** After the end, when everything is copied: the last lines, with or without a newline. */
  async finish(): Promise<void> {
    this.#take(this.#parser.endFile())
    this.#take(this.#parser.release(false))
    await this.#storeBatch()
  }

  /** Text of lines without a newline so far that belong to `requestId`. */
  unfinishedOf(requestId: string): Buffer[] {
    return this.#parser
      .peek()
      .filter(({ firstUs, lastUs }) => this.#options.calls.of(firstUs, lastUs)?.requestId === requestId)
      .map(({ text }) => Buffer.from(text))
  }

  close(): void {
    this.#isClosed = true
    if (this.#fd >= 0) closeSync(this.#fd)
    this.#fd = -1
  }

  /** Lets the supervisor answer while other instances are copied. A file that is not there yet is asked for again later. */
  #ask(work: () => Promise<boolean>): TurnResult {
    this.#isAsking = true
    work().then(
      (isDone) => {
        this.#isAsking = false
        if (isDone) this.#options.onAnswer(undefined)
        else this.#options.onAnswer(new Error('no output file'))
      },
      (failure: unknown) => {
        this.#isAsking = false
        this.#options.onAnswer(failure)
      },
    )
    return 'asking'
  }

  async #openFirst(): Promise<boolean> {
    const known = this.#place.file
    const found = (known === 0 ? undefined : await this.#open(known)) ?? (await this.#openAfter(known))
    this.#hasNothing = found === undefined
    if (found === undefined) return false
    const isRotated = await this.#exists(found.rotated + 1)
    this.#renumber(found.rotated)
    this.#adopt(found.fd, isRotated)
    return true
  }

  /**
   * The oldest file after number `file`. A number may be missing: a rotation that was begun and not made (the file keeps its place then, and
   * gets a higher number with the next one).
   */
  async #openAfter(file: number): Promise<OpenOutput | undefined> {
    let oldest = await this.#open(0)
    while (oldest !== undefined && oldest.rotated - 1 > file) {
      const older = await this.#open(oldest.rotated - 1)
      if (older === undefined) break
      closeSync(oldest.fd)
      oldest = older
    }
    if (oldest === undefined || oldest.rotated > file) return oldest
    closeSync(oldest.fd)
    return undefined
  }

  /**
   * The file is rotated and read to its end. That the next one exists means that conmon writes there, so one more look at the size decides.
   * The place in the new file is stored before anything is forgotten, and the file just finished stays until the next rotation, since the
   * supervisor counts the files that exist: so a place always names a file that is there.
   */
  async #nextFile(): Promise<boolean> {
    const finished = this.#place.file
    const next = (await this.#open(finished + 1)) ?? (await this.#openAfter(finished))
    if (next === undefined) return false
    const old = fstatSync(this.#fd)
    if (fstatSync(next.fd).ino === old.ino) this.#renumber(next.rotated)
    if (finished !== this.#place.file || old.size > this.#place.offset) {
      closeSync(next.fd)
      return true
    }
    const isRotated = await this.#exists(next.rotated + 1)
    this.#take(this.#parser.endFile())
    this.#moveTo({ file: finished + 1, offset: 0 })
    this.#renumber(next.rotated)
    this.#adopt(next.fd, isRotated)
    // a line that began two files ago must not keep them all
    if (earliest(this.#parser.positions()).file < finished) this.#take(this.#parser.release(true))
    await this.#store(this.#batch.take(this.#options.instance, this.#parser.positions()))
    if (finished > 1) await this.#options.source.forget(finished - 1)
    return true
  }

  #renumber(file: number): void {
    this.#parser.renumber(this.#place.file, file)
    this.#place.file = file
  }

  #moveTo(place: Position): void {
    this.#place = { ...place }
    this.#parser.moveTo(place)
  }

  #adopt(fd: number, isRotated: boolean): void {
    if (this.#fd >= 0) closeSync(this.#fd)
    this.#fd = fd
    this.#isRotated = isRotated
    if (this.#isClosed) this.close()
  }

  #open(rotated: number): Promise<OpenOutput | undefined> {
    return this.#options.source.open(rotated)
  }

  async #exists(file: number): Promise<boolean> {
    const found = await this.#open(file)
    if (found !== undefined) closeSync(found.fd)
    return found !== undefined
  }

  async #copy(chunk: Buffer): Promise<void> {
    const { bytesRead } = await read(this.#fd, chunk, 0, chunk.length, this.#place.offset)
    this.#place.offset += bytesRead
    this.#batch.expect(bytesRead)
    this.#take(this.#parser.push(chunk.subarray(0, bytesRead)))
    if (this.#parser.droppedBytes > 0) {
      this.#notice(`${this.#parser.droppedBytes} bytes of a line without end were dropped`)
      this.droppedBytes += this.#parser.droppedBytes
      this.#parser.droppedBytes = 0
    }
    await this.#storeBatch()
  }

  #take(lines: ParsedLine[]): void {
    for (const { stream, firstUs, lastUs, text, continues } of lines) {
      const call = this.#options.calls.of(firstUs, lastUs)
      const timeUs = call?.endUs === undefined ? firstUs : Math.min(firstUs, call.endUs)
      this.#batch.add({ stream, timeUs, requestId: call?.requestId ?? null, continues, text })
    }
  }

  #notice(what: string): void {
    const text = Buffer.from(`Output of instance ${this.#options.instance}: ${what}.`)
    this.#batch.add({ stream: 'platform', timeUs: nowUs(), requestId: null, continues: false, text })
  }

  async #storeBatch(): Promise<void> {
    if (this.#batch.records === 0) return
    await this.#store(this.#batch.take(this.#options.instance, this.#parser.positions()))
  }

  async #store(batch: Buffer): Promise<void> {
    this.#unstored = batch
    await this.#options.log.append(batch)
    this.#unstored = undefined
  }

  /** Goes on beside the copying; an instance that has just ended refuses, anything else is tried again. */
  #rotate(): void {
    if (this.#isEnded || performance.now() < this.#rotateFromMs) return
    this.#rotateFromMs = Number.POSITIVE_INFINITY
    const { file } = this.#place
    this.#options.source.rotate().then(
      (number) => {
        this.#rotateFromMs = 0
        if (this.#place.file !== file) return
        this.#renumber(number)
        this.#isRotated = true
      },
      () => {
        this.#rotateFromMs = performance.now() + ROTATE_RETRY_MS
      },
    )
  }

  /** Skips to the last lines of the file. */
  async #giveUp(size: number): Promise<void> {
    const from = size - Math.min(KEPT_BYTES, this.#options.limits.backlogBytes / 2)
    const chunk = Buffer.alloc(64 * 1024)
    const { bytesRead } = await read(this.#fd, chunk, 0, chunk.length, from)
    const offset = from + chunk.subarray(0, bytesRead).indexOf(NEWLINE) + 1
    const dropped = offset - this.#place.offset
    this.#take(this.#parser.release(true))
    this.#moveTo({ file: this.#place.file, offset })
    this.#parser.droppedBytes = 0
    this.droppedBytes += dropped
    this.#notice(`${dropped} bytes were written faster than they could be kept and were dropped`)
    await this.#storeBatch()
  }
}
