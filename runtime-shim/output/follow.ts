import type { InvocationRecord } from '../../api/index.ts'
import type { CallSpans, FunctionName } from './calls.ts'
import type { FunctionLog } from './function-log.ts'
import type { StartedCall } from './reader.ts'
import type { RecordFeed } from './record-feed.ts'

export interface FollowerOptions {
  log: FunctionLog
  owner: FunctionName
  /** Only this call. */
  requestId: string | undefined
  feed: RecordFeed
  calls: CallSpans
  flush: (instance: string) => Promise<unknown>
}

/** What has happened since the last look: lines may have been stored, calls have begun and finished. */
export interface News {
  begun: StartedCall[]
  records: InvocationRecord[]
}

/** A reader that does not keep up loses the platform's lines of the oldest calls beyond this, not memory. */
const MAX_NEWS = 10_000

/** Gathers, from its making on, what a follower of one function has to be told. */
export class Follower {
  readonly #options: FollowerOptions
  readonly #stops: (() => void)[]
  #news: News = { begun: [], records: [] }
  #changed = Promise.withResolvers<void>()
  #isClosed = false

  constructor(options: FollowerOptions) {
    const { log, owner, feed, calls } = options
    this.#options = options
    const isOurs = (id: string): boolean => options.requestId === undefined || options.requestId === id
    this.#stops = [
      log.listen(() => this.#changed.resolve()),
      calls.listen(({ kind, owner: of, instance, requestId, atUs }) => {
        if (kind !== 'begin' || of.namespace !== owner.namespace || of.function !== owner.function) return
        if (isOurs(requestId)) this.#tell(this.#news.begun, { requestId, instance, atUs })
      }),
      feed.listen(owner, (record) => {
        if (isOurs(record.requestId)) void this.#finished(record)
      }),
    ]
  }

  /** News, each time there is some. The first comes at once: lines may have been stored while the past was read. */
  async *news(signal: AbortSignal | undefined): AsyncGenerator<News> {
    const onAbort = (): void => this.#changed.resolve()
    signal?.addEventListener('abort', onAbort, { once: true })
    try {
      for (;;) {
        if (signal?.aborted === true || this.#isClosed) return
        const news = this.#news
        this.#news = { begun: [], records: [] }
        this.#changed = Promise.withResolvers()
        yield news
        await this.#changed.promise
      }
    } finally {
      signal?.removeEventListener('abort', onAbort)
    }
  }

  close(): void {
    this.#isClosed = true
    for (const stop of this.#stops) stop()
    this.#changed.resolve()
  }

  /** A call's last lines are stored before its END is told. */
  async #finished(record: InvocationRecord): Promise<void> {
    if (record.instance !== null) await this.#options.flush(record.instance)
    this.#tell(this.#news.records, record)
  }

  #tell<T>(queue: T[], item: T): void {
    queue.push(item)
    if (queue.length > MAX_NEWS) queue.shift()
    this.#changed.resolve()
  }
}
