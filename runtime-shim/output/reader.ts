import { setImmediate as nextTurn } from 'node:timers/promises'
import type { InvocationRecord } from '../../api/index.ts'
import type { CallSpans, FunctionName } from './calls.ts'
import { Follower } from './follow.ts'
import type { FunctionLog } from './function-log.ts'
import { type LogLine, toLogLine, withScf } from './log-line.ts'
import type { LogStore } from './log-store.ts'
import { LineMerge, type MergedLine } from './merge.ts'
import type { RecordFeed } from './record-feed.ts'
import { type RecordSource, recordsByTime } from './record-source.ts'
import { type LineFilter, type LogCursor, type StoredLine, storedLines, timeOfNewest } from './stored-lines.ts'

export interface LogQuery extends FunctionName {
  /** Only lines from this time on, ms. Default: everything that is kept. */
  sinceMs?: number
  /** Only lines up to this time, ms; not with `follow`. */
  untilMs?: number
  /** Only lines of this call, the platform's included. */
  requestId?: string
  /** Goes on with new lines, as they are stored, until `signal` aborts. Default false. */
  follow?: boolean
  /** Of what is there already only the newest lines, at most 10,000. Default: all. */
  limit?: number
  signal?: AbortSignal
  /** `scf`: each line has its record with the cloud service's names beside it. Default `slipway`. */
  format?: 'slipway' | 'scf'
}

export interface ReaderOptions {
  store: LogStore
  records: RecordSource
  feed: RecordFeed
  calls: CallSpans
  /** Settles when what an instance has printed so far is stored. */
  flush: (instance: string) => Promise<unknown>
}

/** Lines of several instances are put in order when they are stored within this of each other; beyond it, order is that of storing. */
const WINDOW_US = 2_000_000
const MAX_WAITING_LINES = 20_000
const MAX_WAITING_BYTES = 16 * 1024 * 1024
const MAX_LIMIT = 10_000
/** The longest execution (900 s) and what comes late: a call that began this long before may still have its END in the range. */
const LONGEST_CALL_MS = 910_000
/** Output of an instance's start precedes its first call; the rest of a call's lines may be stamped a little after it. */
const AROUND_CALL_MS = 1000
/** Lines are handed on in portions of this: one at a time costs four times as much. */
const PORTION = 256
const NEWLINE = Buffer.from('\n')
const REMEMBERED_CALLS = 10_000

/** Reads stored lines and the platform's own lines of a function, in the order of time, also while they are written. */
export class LogReader {
  readonly #options: ReaderOptions

  constructor(options: ReaderOptions) {
    this.#options = options
  }

  /** Lines, oldest first. Ends when everything is given, or with `follow` when the signal aborts. Memory is bounded however much there is. */
  async *read(query: LogQuery): AsyncGenerator<LogLine, void, undefined> {
    const owner = { namespace: query.namespace, function: query.function }
    const log = await this.#options.store.acquire(owner)
    const follower =
      query.follow === true ? new Follower({ ...this.#options, owner, log, requestId: query.requestId }) : undefined
    try {
      const session = new ReadSession(this.#options, owner, log, query)
      for await (const lines of limited(session.present(follower !== undefined), query.limit)) yield* lines
      if (follower === undefined) return
      for await (const news of follower.news(query.signal)) {
        for await (const lines of session.add(news.records, news.begun)) yield* lines
      }
    } finally {
      follower?.close()
      this.#options.store.release(owner)
    }
  }

  /**
   * The end of what a call has printed, at most `maxBytes` (default 4 KB), stdout and stderr as they came, a last line without newline
   * included. `sinceMs` is when the call began.
   */
  async tail(
    call: FunctionName & { requestId: string; sinceMs: number; unfinished?: Buffer[] },
    maxBytes = 4096,
  ): Promise<string> {
    const filter = {
      fromUs: (call.sinceMs - AROUND_CALL_MS) * 1000,
      toUs: Number.POSITIVE_INFINITY,
      requestId: call.requestId,
    }
    const kept: Buffer[] = []
    let bytes = 0
    const keep = (text: Buffer): void => {
      kept.push(Buffer.from(text.subarray(Math.max(0, text.length - maxBytes))))
      bytes += text.length
      while (kept[0] !== undefined && bytes - kept[0].length >= maxBytes) bytes -= kept.shift()?.length ?? 0
    }
    await this.#options.store.use(call, async (log) => {
      for await (const lines of storedLines(log, filter, { sequence: 0, offset: 0 })) {
        for (const { text, continues } of lines) keep(continues ? text : Buffer.concat([text, NEWLINE]))
      }
    })
    for (const text of call.unfinished ?? []) keep(text)
    const all = Buffer.concat(kept)
    return all.subarray(Math.max(0, all.length - maxBytes)).toString('utf8')
  }
}

/** One reading of one function's lines. */
class ReadSession {
  readonly #options: ReaderOptions
  readonly #owner: FunctionName
  readonly #log: FunctionLog
  readonly #query: LogQuery
  readonly #merge = new LineMerge()
  readonly #cursor: LogCursor = { sequence: 0, offset: 0 }
  /** Finished calls seen lately. */
  readonly #records = new Map<string, InvocationRecord>()
  readonly #started = new Map<string, true>()
  #filter: LineFilter = { fromUs: 0, toUs: Number.POSITIVE_INFINITY }

  constructor(options: ReaderOptions, owner: FunctionName, log: FunctionLog, query: LogQuery) {
    this.#options = options
    this.#owner = owner
    this.#log = log
    this.#query = query
  }

  /** What is there already. */
  async *present(isFollowed: boolean): AsyncGenerator<LogLine[]> {
    const { requestId, sinceMs = 0, limit } = this.#query
    const untilMs = isFollowed ? undefined : this.#query.untilMs
    const nowMs = Date.now()
    const known = requestId === undefined ? undefined : await this.#options.records.get(requestId)
    let fromMs = sinceMs
    let toMs = untilMs ?? Number.POSITIVE_INFINITY
    if (known !== undefined) {
      fromMs = Math.max(fromMs, known.startedAtMs - AROUND_CALL_MS)
      toMs = Math.min(toMs, known.startedAtMs + known.durationMs + AROUND_CALL_MS)
    }
    if (limit !== undefined && requestId === undefined && untilMs === undefined) {
      fromMs = Math.max(fromMs, (await timeOfNewest(this.#log, Math.min(limit, MAX_LIMIT))) / 1000)
    }
    this.#filter = { fromUs: fromMs * 1000, toUs: toMs * 1000, requestId }
    const notice = this.#removedNotice(sinceMs)
    if (notice !== undefined) yield [notice]
    const records = this.#recordsOf(known, fromMs, untilMs ?? nowMs + AROUND_CALL_MS)
    for (const { requestId: id, instance, atUs } of this.#options.calls.running(this.#owner)) {
      if (requestId === undefined || id === requestId) this.#addStart(id, instance, atUs)
    }
    yield* this.#inOrder(storedLines(this.#log, this.#filter, this.#cursor), records)
    if (isFollowed) this.#filter.toUs = Number.POSITIVE_INFINITY
  }

  /** What has come since: new lines, and calls that have begun or finished. */
  async *add(finished: readonly InvocationRecord[], begun: readonly StartedCall[]): AsyncGenerator<LogLine[]> {
    for (const { requestId, instance, atUs } of begun) this.#addStart(requestId, instance, atUs)
    const records = (async function* (): AsyncGenerator<InvocationRecord> {
      yield* finished
    })()
    yield* this.#inOrder(storedLines(this.#log, this.#filter, this.#cursor), records)
  }

  /** Reads ahead by WINDOW_US, no more, and gives what no later line can precede. */
  async *#inOrder(
    stored: AsyncGenerator<StoredLine[]>,
    records: AsyncGenerator<InvocationRecord>,
  ): AsyncGenerator<LogLine[]> {
    let lines = await stored.next()
    let record = await records.next()
    let readUs = 0
    let portion: LogLine[] = []
    for (;;) {
      while (lines.done !== true && this.#wantsMore(readUs)) {
        for (const line of lines.value) readUs = Math.max(readUs, this.#merge.addLine(line))
        lines = await stored.next()
      }
      while (record.done !== true && record.value.startedAtMs * 1000 <= this.#horizonUs()) {
        this.#addRecord(record.value)
        record = await records.next()
      }
      const given = this.#merge.next()
      if (given !== undefined) this.#show(given, portion)
      const isOver = given === undefined && lines.done === true && record.done === true
      if (portion.length >= PORTION || (isOver && portion.length > 0)) {
        yield portion
        portion = []
        await nextTurn() // a reader of a million lines must not hold up calls
      }
      if (isOver) return
    }
  }

  #horizonUs(): number {
    return (this.#merge.nextUs ?? Number.POSITIVE_INFINITY) + WINDOW_US
  }

  #wantsMore(readUs: number): boolean {
    const { nextUs, size, bytes } = this.#merge
    if (nextUs === undefined) return true
    return readUs < nextUs + WINDOW_US && size < MAX_WAITING_LINES && bytes < MAX_WAITING_BYTES
  }

  #show(given: MergedLine[], portion: LogLine[]): void {
    for (const merged of given) {
      if (merged.timeUs < this.#filter.fromUs || merged.timeUs > this.#filter.toUs) continue
      const line = toLogLine(merged)
      const isScf = this.#query.format === 'scf'
      portion.push(isScf ? withScf(line, merged.timeUs, this.#owner, this.#records.get(line.requestId ?? '')) : line)
    }
  }

  #addStart(requestId: string, instance: string, atUs: number): void {
    if (this.#started.has(requestId) || this.#records.has(requestId)) return
    remember(this.#started, requestId, true)
    this.#merge.addStart(requestId, instance, atUs)
  }

  #addRecord(record: InvocationRecord): void {
    if (this.#records.has(record.requestId)) return
    remember(this.#records, record.requestId, record)
    this.#merge.addRecord(record, !this.#started.has(record.requestId))
  }

  async *#recordsOf(
    known: InvocationRecord | undefined,
    fromMs: number,
    untilMs: number,
  ): AsyncGenerator<InvocationRecord> {
    if (known !== undefined) yield known
    else if (this.#query.requestId === undefined) {
      const sinceMs = Math.max(0, Math.floor(fromMs) - LONGEST_CALL_MS)
      yield* recordsByTime(this.#options.records, this.#owner, sinceMs, Math.ceil(untilMs))
    }
  }

  /** Says what the function's limit of bytes has cost, if it concerns the time asked for. */
  #removedNotice(sinceMs: number): LogLine | undefined {
    const { records, bytes, upToUs } = this.#log.removed
    if (records === 0 || this.#query.limit !== undefined || this.#query.requestId !== undefined) return undefined
    if (upToUs < sinceMs * 1000) return undefined
    const text = `${records} older lines (${bytes} bytes) were removed to keep within the function's limit.`
    const merged: MergedLine = { kind: 'platform', timeUs: upToUs, instance: null, requestId: '', text }
    const line: LogLine = { ...toLogLine(merged), requestId: null }
    return this.#query.format === 'scf' ? withScf(line, upToUs, this.#owner, undefined) : line
  }
}

export interface StartedCall {
  requestId: string
  instance: string
  atUs: number
}

function remember<T>(map: Map<string, T>, key: string, value: T): void {
  map.set(key, value)
  const [oldest] = map.keys()
  if (map.size > REMEMBERED_CALLS && oldest !== undefined) map.delete(oldest)
}

/** The last `limit` of `portions`. */
async function* limited(portions: AsyncGenerator<LogLine[]>, limit: number | undefined): AsyncGenerator<LogLine[]> {
  if (limit === undefined) {
    yield* portions
    return
  }
  const kept: LogLine[] = []
  let bytes = 0
  for await (const lines of portions) {
    for (const line of lines) {
      kept.push(line)
      bytes += line.line.length
      while (kept.length > Math.min(limit, MAX_LIMIT) || (bytes > MAX_WAITING_BYTES && kept.length > 1)) {
        bytes -= kept.shift()?.line.length ?? 0
      }
    }
  }
  yield kept
}
