import type { InvocationRecord } from '../../api/index.ts'
import type { FunctionName } from './calls.ts'

/** Where the records of finished calls are found. */
export interface RecordSource {
  /** Records of calls that began within the times (both included), newest first, at most `limit`. */
  list(query: RecordQuery): Promise<InvocationRecord[]>
  get(requestId: string): Promise<InvocationRecord | undefined>
}

export interface RecordQuery extends FunctionName {
  sinceMs: number
  untilMs: number
  limit: number
}

const PAGE = 1000

/** All records of a time range, oldest first, a page at a time: a range with too many is halved. */
export async function* recordsByTime(
  source: RecordSource,
  owner: FunctionName,
  sinceMs: number,
  untilMs: number,
): AsyncGenerator<InvocationRecord> {
  const found = await source.list({ ...owner, sinceMs, untilMs, limit: PAGE })
  const middleMs = Math.floor((sinceMs + untilMs) / 2)
  if (found.length < PAGE || middleMs >= untilMs || middleMs < sinceMs) {
    yield* found.toReversed()
    return
  }
  yield* recordsByTime(source, owner, sinceMs, middleMs)
  yield* recordsByTime(source, owner, middleMs + 1, untilMs)
}
