import { open } from 'node:fs/promises'
import { errnoOf } from '../../common/index.ts'
import { type LogRecord, readRecords } from './batch.ts'
import type { FunctionLog, SegmentView } from './function-log.ts'
import type { Block } from './segment-index.ts'
import { scanBatches } from './segment-scan.ts'

export interface LineFilter {
  /** Microseconds; lines outside are left out. */
  fromUs: number
  toUs: number
  requestId?: string | undefined
}

export type StoredLine = LogRecord & { instance: string }

/** How far a log has been read. */
export interface LogCursor {
  sequence: number
  offset: number
}

/**
 * The stored lines from `cursor` to the present end, in the order in which they were stored: that of each instance's output, instances mixed.
 * One array for each stored batch. Moves `cursor` along. A segment that retention has unlinked meanwhile is passed over.
 */
export async function* storedLines(
  log: FunctionLog,
  filter: LineFilter,
  cursor: LogCursor,
): AsyncGenerator<StoredLine[]> {
  for (const segment of await log.segments(cursor.sequence, filter.fromUs)) {
    if (segment.sequence > cursor.sequence) Object.assign(cursor, { sequence: segment.sequence, offset: 0 })
    yield* linesOfSegment(segment, filter, cursor)
  }
}

async function* linesOfSegment(
  segment: SegmentView,
  filter: LineFilter,
  cursor: LogCursor,
): AsyncGenerator<StoredLine[]> {
  const blocks = segment.blocks.filter((block) => block.end > cursor.offset)
  const end = blocks.at(-1)?.end
  if (end === undefined) return
  const wanted = blocks.filter((block) => mayHold(block, filter))
  if (wanted.length > 0) {
    const file = await open(segment.path, 'r').catch((thrown: unknown) => {
      if (errnoOf(thrown) === 'ENOENT') return undefined
      throw thrown
    })
    if (file === undefined) return
    try {
      for (const block of wanted) {
        for await (const { head, bytes, at } of scanBatches(file, Math.max(block.offset, cursor.offset), block.end)) {
          if (head.records === 0 || head.maxUs < filter.fromUs || head.minUs > filter.toUs) continue
          const records = readRecords(bytes, at, head).filter((record) => isWanted(record, filter))
          if (records.length > 0) yield records
        }
        cursor.offset = block.end
      }
    } finally {
      await file.close()
    }
  }
  cursor.offset = end
}

function mayHold(block: Block, { fromUs, toUs }: LineFilter): boolean {
  return block.records > 0 && block.maxUs >= fromUs && block.minUs <= toUs
}

function isWanted(record: LogRecord, { fromUs, toUs, requestId }: LineFilter): boolean {
  if (record.timeUs < fromUs || record.timeUs > toUs) return false
  return requestId === undefined || record.requestId === requestId
}

/** A time from which on the newest `count` lines, or more, are found. */
export async function timeOfNewest(log: FunctionLog, count: number): Promise<number> {
  const blocks = (await log.segments()).flatMap((segment) => segment.blocks)
  let found = 0
  let fromUs = Number.POSITIVE_INFINITY
  for (const block of blocks.toReversed()) {
    found += block.records
    fromUs = Math.min(fromUs, block.minUs)
    if (found >= count) return fromUs
  }
  return 0
}
