import type { InvocationRecord } from '../../api/index.ts'

export interface RecordBufferOptions {
  write: (records: InvocationRecord[]) => Promise<unknown>
  /** Longest wait of a record before it is handed to the writer. Default 100 ms, half of what is promised. */
  delayMs?: number
  /** Records that wait or are being written; one more is dropped. Default 50,000. */
  maxWaiting?: number
}

const BATCH = 500

/** Gathers records and hands them to the writer in batches. Bounded; never waits, never throws. */
export class RecordBuffer {
  readonly #write: RecordBufferOptions['write']
  readonly #delayMs: number
  readonly #maxWaiting: number
  #waiting: InvocationRecord[] = []
  #beingWritten = 0
  #timer: NodeJS.Timeout | undefined
  #dropped = 0

  constructor({ write, delayMs = 100, maxWaiting = 50_000 }: RecordBufferOptions) {
    this.#write = write
    this.#delayMs = delayMs
    this.#maxWaiting = maxWaiting
  }

  /** Records lost because the writer was too slow or failed. */
  get dropped(): number {
    return this.#dropped
  }

  add(record: InvocationRecord): void {
    if (this.#waiting.length + this.#beingWritten >= this.#maxWaiting) {
      this.#dropped += 1
      return
    }
    this.#waiting.push(record)
    if (this.#waiting.length >= BATCH) this.hand()
    else this.#timer ??= setTimeout(() => this.hand(), this.#delayMs)
  }

  /** Hands over what waits: a read that is asked of the writer afterwards sees it. */
  hand(): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
    const batch = this.#waiting
    if (batch.length === 0) return
    this.#waiting = []
    this.#beingWritten += batch.length
    this.#write(batch)
      .catch(() => {
        this.#dropped += batch.length
      })
      .finally(() => {
        this.#beingWritten -= batch.length
      })
  }
}
