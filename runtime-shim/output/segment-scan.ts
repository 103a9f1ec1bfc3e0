import type { FileHandle } from 'node:fs/promises'
import { type BatchHead, HEAD_BYTES, isIntact, readHead } from './batch.ts'

/** A batch in memory: it begins at `at` of `bytes` and at `offset` of its segment. */
export interface FoundBatch {
  head: BatchHead
  bytes: Buffer
  at: number
  offset: number
}

const WINDOW_BYTES = 256 * 1024

/**
 * The intact batches of a segment between two offsets, in order. Ends at the first that is not whole: what a kill cut short.
 * Memory: 256 KB, or the biggest batch.
 */
export async function* scanBatches(file: FileHandle, from: number, to: number): AsyncGenerator<FoundBatch> {
  let window: Buffer = Buffer.alloc(0)
  let windowStart = from
  let offset = from
  const load = async (bytes: number): Promise<boolean> => {
    if (offset + bytes <= windowStart + window.length) return true
    const wanted = Math.min(Math.max(bytes, WINDOW_BYTES), to - offset)
    if (wanted < bytes) return false
    window = await readFully(file, offset, wanted)
    windowStart = offset
    return window.length >= bytes
  }
  while (offset < to) {
    if (!(await load(HEAD_BYTES))) return
    const head = readHead(window, offset - windowStart)
    if (head === undefined || !(await load(head.bytes))) return
    const at = offset - windowStart
    if (!isIntact(window, at, head)) return
    yield { head, bytes: window, at, offset }
    offset += head.bytes
  }
}

/** Reads up to `length` bytes at `position`; fewer only at the end of the file. */
export async function readFully(file: FileHandle, position: number, length: number): Promise<Buffer> {
  const bytes = Buffer.allocUnsafe(length)
  let done = 0
  while (done < length) {
    const { bytesRead } = await file.read(bytes, done, length - done, position + done)
    if (bytesRead === 0) break
    done += bytesRead
  }
  return bytes.subarray(0, done)
}

/** Writes everything at `position`. */
export async function writeFully(file: FileHandle, bytes: Buffer, position: number): Promise<void> {
  let done = 0
  while (done < bytes.length) {
    const { bytesWritten } = await file.write(bytes, done, bytes.length - done, position + done)
    done += bytesWritten
  }
}
