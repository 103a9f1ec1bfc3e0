import { readFile } from 'node:fs/promises'
import { crc32 } from 'node:zlib'
import type { BatchHead } from './batch.ts'

/** Some batches that stand one after the other in a segment. */
export interface Block {
  offset: number
  end: number
  /** Times of its lines, microseconds; `minUs` is above `maxUs` when it has none. */
  minUs: number
  maxUs: number
  records: number
}

const BLOCK_BYTES = 64 * 1024
const FIELDS = 5

/** The sparse index of a segment: one entry for each 64 KB or more. */
export class SegmentIndex {
  readonly blocks: Block[] = []

  add(head: BatchHead, offset: number): void {
    let block = this.blocks.at(-1)
    if (block === undefined || block.end - block.offset >= BLOCK_BYTES) {
      block = { offset, end: offset, minUs: Number.POSITIVE_INFINITY, maxUs: Number.NEGATIVE_INFINITY, records: 0 }
      this.blocks.push(block)
    }
    block.end = offset + head.bytes
    if (head.records === 0) return
    block.minUs = Math.min(block.minUs, head.minUs)
    block.maxUs = Math.max(block.maxUs, head.maxUs)
    block.records += head.records
  }
}

export function encodeIndex(blocks: readonly Block[]): Buffer {
  const numbers = Float64Array.from(
    blocks.flatMap(({ offset, end, minUs, maxUs, records }) => [offset, end, minUs, maxUs, records]),
  )
  const body = Buffer.from(numbers.buffer)
  const check = Buffer.alloc(8)
  check.writeUInt32LE(crc32(body), 0)
  return Buffer.concat([check, body])
}

/** Undefined when there is no index file or it is damaged: then the segment itself tells. */
export async function readIndex(path: string): Promise<Block[] | undefined> {
  const bytes = await readFile(path).catch(() => undefined)
  if (bytes === undefined || bytes.length < 8 || (bytes.length - 8) % (8 * FIELDS) !== 0) return undefined
  const body = bytes.subarray(8)
  if (crc32(body) !== bytes.readUInt32LE(0)) return undefined
  const blocks: Block[] = []
  for (let at = 0; at < body.length; at += 8 * FIELDS) {
    const field = (index: number): number => body.readDoubleLE(at + 8 * index)
    blocks.push({ offset: field(0), end: field(1), minUs: field(2), maxUs: field(3), records: field(4) })
  }
  return blocks
}

export interface Summary {
  minUs: number
  maxUs: number
  records: number
}

export function summarise(blocks: readonly Block[]): Summary {
  const sum = { minUs: Number.POSITIVE_INFINITY, maxUs: Number.NEGATIVE_INFINITY, records: 0 }
  for (const { minUs, maxUs, records } of blocks) {
    sum.minUs = Math.min(sum.minUs, minUs)
    sum.maxUs = Math.max(sum.maxUs, maxUs)
    sum.records += records
  }
  return sum
}
