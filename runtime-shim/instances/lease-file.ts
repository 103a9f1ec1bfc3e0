import { closeSync, openSync, writeSync } from 'node:fs'
import { AppError } from '../../common/index.ts'
import { type CallLease, encodeHeader, encodeLease, MAX_SLOTS, SLOT_BYTES } from '../host/lease-layout.ts'

const FREE = Buffer.alloc(SLOT_BYTES)

/** The server's side of the lease file: one pwrite when a call begins, one when it ends (1.1 µs each). */
export class LeaseFile {
  #fd: number
  readonly #free: number[] = []
  readonly #scratch = Buffer.alloc(SLOT_BYTES)
  #used = 1

  constructor(path: string) {
    this.#fd = openSync(path, 'r+')
    writeSync(this.#fd, encodeHeader(this.#used), 0, SLOT_BYTES, 0)
  }

  /** Writes the lease down before the first byte of the call is sent. Throws `too-many-calls` beyond 16,383 calls at once. */
  open(lease: CallLease): number {
    if (this.#fd === -1) throw new AppError('the server ends', { code: 'host-gone', retryable: true })
    const slot = this.#free.pop() ?? this.#grow()
    try {
      writeSync(this.#fd, encodeLease(lease, this.#scratch), 0, SLOT_BYTES, slot * SLOT_BYTES)
    } catch (thrown) {
      this.#free.push(slot)
      throw thrown
    }
    return slot
  }

  /** A call that outlives the file closes nothing: its descriptor may be another file's by then. */
  close(slot: number): void {
    if (this.#fd === -1) return
    writeSync(this.#fd, FREE, 0, SLOT_BYTES, slot * SLOT_BYTES)
    this.#free.push(slot)
  }

  dispose(): void {
    closeSync(this.#fd)
    this.#fd = -1
  }

  #grow(): number {
    if (this.#used >= MAX_SLOTS) {
      throw new AppError(`more than ${MAX_SLOTS - 1} calls at once`, { code: 'too-many-calls', retryable: true })
    }
    const slot = this.#used
    this.#used += 1
    writeSync(this.#fd, encodeHeader(this.#used), 0, SLOT_BYTES, 0)
    return slot
  }
}
