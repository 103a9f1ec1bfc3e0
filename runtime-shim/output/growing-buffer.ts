/** Bytes that come in pieces of any size: one block of memory that doubles, so that a million one-byte pieces cost a megabyte. */
export class GrowingBuffer {
  #block = Buffer.alloc(0)
  #length = 0

  get length(): number {
    return this.#length
  }

  get capacity(): number {
    return this.#block.length
  }

  append(bytes: Buffer): void {
    this.reserve(bytes.length)
    bytes.copy(this.#block, this.#length)
    this.#length += bytes.length
  }

  /** Makes room for `more` bytes and answers the block that they may be written to, from `length` on; then `advance`. */
  reserve(more: number): Buffer {
    const needed = this.#length + more
    if (needed > this.#block.length) {
      const grown = Buffer.allocUnsafeSlow(Math.max(needed, this.#block.length * 2, 256))
      this.#block.copy(grown, 0, 0, this.#length)
      this.#block = grown
    }
    return this.#block
  }

  advance(bytes: number): void {
    this.#length += bytes
  }

  /** A view, valid until the next change. */
  bytes(): Buffer {
    return this.#block.subarray(0, this.#length)
  }

  /** Forgets the bytes and their memory. */
  clear(): void {
    this.#length = 0
    this.#block = Buffer.alloc(0)
  }
}
