import { refuse, type SparseSegment } from './tar-entry.ts'
import { parseDecimal, parseNumber } from './tar-numbers.ts'
import type { PaxRecords } from './tar-pax.ts'

/** More holes than this in one file are refused: the map would be memory that the sender decides on. */
const MAX_SEGMENTS = 262_144

/** The pairs of a block of GNU's old format: `count` times 12 octal digits offset, 12 octal digits length; a zero pair ends them. */
export function readOldSparsePairs(block: Buffer, offset: number, count: number, into: SparseSegment[]): void {
  for (let index = 0; index < count; index += 1) {
    const at = offset + index * 24
    if (block[at] === 0) return
    into.push({ offset: parseNumber(block, at, 12), length: parseNumber(block, at + 12, 12) })
    if (into.length > MAX_SEGMENTS) throw refuse('a sparse file has too many segments')
  }
}

/** The map of the PAX formats 0.0 (repeated keys) and 0.1 (one list); undefined when the header has none. */
export function paxSparseMap(records: PaxRecords): SparseSegment[] | undefined {
  const list = records.find(([key]) => key === 'GNU.sparse.map')?.[1].split(',')
  const numbers =
    list ??
    records.filter(([key]) => key === 'GNU.sparse.offset' || key === 'GNU.sparse.numbytes').map(([, value]) => value)
  if (list === undefined && numbers.length === 0) return undefined
  return toSegments(numbers.map((text) => parseDecimal(text, 'sparse map')))
}

/**
 * Collects the map of PAX format 1.0, which stands before the file's data in whole blocks: a count, then offset and length in turn, each a decimal
 * line. `add` takes one block and answers the segments once all are there.
 */
export class SparseMapReader {
  #numbers: number[] = []
  #rest = ''
  blocks = 0

  add(block: Buffer): SparseSegment[] | undefined {
    this.blocks += 1
    const lines = (this.#rest + block.toString('latin1')).split('\n')
    this.#rest = lines.pop() ?? ''
    for (const line of lines) {
      this.#numbers.push(parseDecimal(line, 'sparse map'))
      if ((this.#numbers[0] ?? 0) > MAX_SEGMENTS) throw refuse('a sparse file has too many segments')
      if (this.#isComplete()) return toSegments(this.#numbers.slice(1))
    }
    if (this.#rest.length > 32) throw refuse('the map of a sparse file is malformed')
    return undefined
  }

  #isComplete(): boolean {
    const count = this.#numbers[0]
    return count !== undefined && this.#numbers.length === 1 + count * 2
  }
}

function toSegments(numbers: readonly number[]): SparseSegment[] {
  if (numbers.length % 2 !== 0 || numbers.length > MAX_SEGMENTS * 2) {
    throw refuse('the map of a sparse file is malformed')
  }
  const segments: SparseSegment[] = []
  for (let index = 0; index < numbers.length; index += 2) {
    segments.push({ offset: numbers[index] ?? 0, length: numbers[index + 1] ?? 0 })
  }
  return segments
}

/** Checks a map against the file: ascending, no overlap, inside the file, and as many bytes as are stored. */
export function checkSegments(segments: readonly SparseSegment[], realBytes: number, storedBytes: number): void {
  let end = 0
  let stored = 0
  for (const { offset, length } of segments) {
    if (offset < end || length < 0 || offset + length > realBytes) throw refuse('the map of a sparse file is malformed')
    end = offset + length
    stored += length
  }
  if (stored !== storedBytes) throw refuse('the map of a sparse file does not fit its data')
}
