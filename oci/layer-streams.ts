import { createHash } from 'node:crypto'
import { Transform, type TransformCallback } from 'node:stream'
import type { Digest } from './digest.ts'

/** Passes bytes on while it counts and hashes them. */
export class Meter extends Transform {
  readonly #hash = createHash('sha256')
  bytes = 0

  override _transform(chunk: Buffer, _encoding: BufferEncoding, done: TransformCallback): void {
    this.#hash.update(chunk)
    this.bytes += chunk.length
    done(null, chunk)
  }

  /** Once, at the end. */
  digest(): Digest {
    return `sha256:${this.#hash.digest('hex')}`
  }
}

const BATCH_BYTES = 65_536

/** Gathers small chunks (a tar of small files comes as headers, bodies and padding) into large ones, which are cheaper to pass on. */
export class Batcher extends Transform {
  #batch = Buffer.allocUnsafe(BATCH_BYTES)
  #filled = 0

  override _transform(chunk: Buffer, _encoding: BufferEncoding, done: TransformCallback): void {
    if (this.#filled + chunk.length > BATCH_BYTES) this.#pushBatch()
    if (chunk.length > BATCH_BYTES) this.push(chunk)
    else this.#filled += chunk.copy(this.#batch, this.#filled)
    done()
  }

  override _flush(done: TransformCallback): void {
    this.#pushBatch()
    done()
  }

  #pushBatch(): void {
    if (this.#filled === 0) return
    this.push(this.#batch.subarray(0, this.#filled))
    this.#batch = Buffer.allocUnsafe(BATCH_BYTES)
    this.#filled = 0
  }
}

/** Where a gzip header names the operating system (RFC 1952, 2.3), and what it says on Linux. */
const SYSTEM_OFFSET = 9
const UNIX = 3

/** Makes the gzip header the same on every system: zlib writes the one it was built for. */
export class SameGzipHeader extends Transform {
  #position = 0

  override _transform(chunk: Buffer, _encoding: BufferEncoding, done: TransformCallback): void {
    const at = SYSTEM_OFFSET - this.#position
    if (at >= 0 && at < chunk.length) chunk[at] = UNIX
    this.#position += chunk.length
    done(null, chunk)
  }
}
