import { closeSync, openSync } from 'node:fs'
import { AppError, mapShared, unixToMachineMs } from '../../common/index.ts'
import { clearLease, LEASE_FILE_BYTES, MAX_SLOTS, writeHeader, writeLease } from '../host/lease-layout.ts'

/** The server's side of the lease file. It is memory here: two stores for each call, where two calls of pwrite cost 6 µs. */
export class LeaseFile {
  readonly #file: Buffer
  readonly #free: number[] = []
  #used = 1
  #disposed = false

  /** The file has its full size and its room on disk already (the supervisor writes it whole). */
  constructor(path: string) {
    const fd = openSync(path, 'r+')
    try {
      this.#file = mapShared(fd, LEASE_FILE_BYTES)
    } finally {
      closeSync(fd)
    }
    writeHeader(this.#file, this.#used)
  }

  /** Writes the lease down before the first byte of the call is sent; `deadlineMs` is Unix time. Throws `too-many-calls` beyond 16,383 calls at once. */
  open({ instance, deadlineMs }: { instance: string; deadlineMs: number }): number {
    if (this.#disposed) throw new AppError('the server ends', { code: 'host-gone', retryable: true })
    const slot = this.#free.pop() ?? this.#grow()
    writeLease(this.#file, slot, { instance, deadlineMs: unixToMachineMs(deadlineMs) })
    return slot
  }

  close(slot: number): void {
    clearLease(this.#file, slot)
    this.#free.push(slot)
  }

  /** No more leases; those of calls that still run stay until they end, or the process does. */
  dispose(): void {
    this.#disposed = true
  }

  #grow(): number {
    if (this.#used >= MAX_SLOTS) {
      throw new AppError(`more than ${MAX_SLOTS - 1} calls at once`, { code: 'too-many-calls', retryable: true })
    }
    const slot = this.#used
    this.#used += 1
    writeHeader(this.#file, this.#used)
    return slot
  }
}
