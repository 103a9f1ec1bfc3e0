import { statfsSync } from 'node:fs'
import { refuse } from './tar-entry.ts'
import { diskFull } from './unpack-errors.ts'

/** Bounds of one layer, whatever its tar says. */
export interface UnpackLimits {
  /** Bytes of all files as a reader sees them, holes included. */
  maxLayerBytes: number
  maxEntries: number
  /** What must stay free on the disk. */
  minFreeBytes: number
}

export const DEFAULT_LIMITS: UnpackLimits = {
  maxLayerBytes: 20 * 1024 ** 3,
  maxEntries: 2_000_000,
  minFreeBytes: 256 * 1024 ** 2,
}

const CHECK_EVERY_BYTES = 64 * 1024 ** 2
/** An entry without data costs the disk about an inode and a name. */
const ENTRY_COST_BYTES = 1_024

/** Counts what a layer takes and ends it before the disk is full: others live on that disk too. */
export class UnpackBudget {
  readonly #limits: UnpackLimits
  readonly #directory: string
  #apparentBytes = 0
  #entries = 0
  #writtenBytes = 0
  #sinceCheckBytes = CHECK_EVERY_BYTES

  constructor(directory: string, limits: UnpackLimits) {
    this.#directory = directory
    this.#limits = limits
  }

  get entries(): number {
    return this.#entries
  }

  get writtenBytes(): number {
    return this.#writtenBytes
  }

  entry(apparentBytes: number): void {
    const { maxEntries, maxLayerBytes } = this.#limits
    this.#entries += 1
    this.#apparentBytes += apparentBytes
    if (this.#entries > maxEntries) throw refuse(`it has more than ${maxEntries} entries`)
    if (this.#apparentBytes > maxLayerBytes) throw refuse(`it holds more than ${maxLayerBytes} bytes`)
    this.written(ENTRY_COST_BYTES)
  }

  written(bytes: number): void {
    this.#writtenBytes += bytes
    this.#sinceCheckBytes += bytes
    if (this.#sinceCheckBytes < CHECK_EVERY_BYTES) return
    this.#sinceCheckBytes = 0
    const { bavail, bsize } = statfsSync(this.#directory)
    const freeBytes = bavail * bsize
    if (freeBytes < this.#limits.minFreeBytes + CHECK_EVERY_BYTES) {
      throw diskFull(`${Math.floor(freeBytes / 1024 ** 2)} MB are free under ${this.#directory}`)
    }
  }
}
