import type { InvocationRecord } from '../../api/index.ts'
import type { Logger } from '../../common/index.ts'
import { CallSpans, type FunctionName } from './calls.ts'
import { OutputCollector } from './collector.ts'
import type { LogLimits } from './function-log.ts'
import type { TailLimits } from './instance-tail.ts'
import type { LogLine } from './log-line.ts'
import { LogStore } from './log-store.ts'
import { type LogQuery, LogReader } from './reader.ts'
import { RecordFeed } from './record-feed.ts'
import type { RecordSource } from './record-source.ts'
import type { OutputSource } from './source.ts'

export interface OutputOptions {
  /** `$DATA/server/output`; made when the first line is stored. */
  directory: string
  records: RecordSource
  logger: Logger
  limits?: Partial<LogLimits & TailLimits>
}

const SWEEP_MS = 10 * 60_000
/** conmon reads what a function wrote within 10 ms, nearly always (99 % in 12 ms on a machine with three times more to do than cores). */
const SETTLE = { settleMs: 10, timeoutMs: 300 }
/** A tail is asked for once and cannot be read again later; a busy Docker Engine makes pauses of more than 10 ms within one burst of lines. */
const SETTLE_TAIL = { settleMs: 60, timeoutMs: 600 }

/**
 * What instances print, from conmon's files to readers. One in a server process.
 *
 * `attach` when an instance exists (new, or found again after a restart), `callBegan` and `callEnded` around each call, `recorded` with each
 * record, `finish` when the instance has ended, then remove its files, then `forget`.
 */
export class Output {
  readonly #calls = new CallSpans()
  readonly #feed = new RecordFeed()
  readonly #store: LogStore
  readonly #collector: OutputCollector
  readonly #reader: LogReader
  readonly #sweeper: NodeJS.Timeout

  constructor(options: OutputOptions) {
    const { directory, records, logger, limits = {} } = options
    this.#store = new LogStore(directory, limits)
    this.#collector = new OutputCollector({ store: this.#store, calls: this.#calls, logger, limits })
    const flush = (instance: string): Promise<boolean> => this.#collector.flush(instance, SETTLE)
    this.#reader = new LogReader({ store: this.#store, records, feed: this.#feed, calls: this.#calls, flush })
    this.#sweeper = setInterval(() => {
      this.#store
        .sweep(Date.now())
        .catch((reason: unknown) => logger.warn({ reason }, 'old output could not be removed'))
    }, SWEEP_MS)
    this.#sweeper.unref()
  }

  /** Copies the output of an instance from now on, or goes on where an earlier process stopped. */
  attach(instance: string, owner: FunctionName, source: OutputSource): Promise<void> {
    return this.#collector.attach(instance, owner, source)
  }

  /** Before the first byte is sent. `sinceMs`: when a call began that an earlier process has seen begin. */
  callBegan(instance: string, requestId: string, sinceMs?: number): void {
    this.#calls.begin(instance, requestId, sinceMs)
  }

  /** When the answer is complete or given up. */
  callEnded(instance: string, requestId: string): void {
    this.#calls.end(instance, requestId)
  }

  /** A call's record, for those who follow. */
  recorded(record: InvocationRecord): void {
    this.#feed.tell(record)
  }

  /** The end of what a call has printed so far: at most 4 KB. `sinceMs` is when it began. Waits for what is on its way: until nothing comes for 60 ms, at most 0.7 s. */
  async tailOf(instance: string, call: FunctionName & { requestId: string; sinceMs: number }): Promise<string> {
    await this.#collector.flush(instance, SETTLE_TAIL)
    const unfinished = this.#collector.unfinishedOf(instance, call.requestId)
    return this.#reader.tail({ ...call, unfinished })
  }

  read(query: LogQuery): AsyncGenerator<LogLine, void, undefined> {
    return this.#reader.read(query)
  }

  /** Settles when what conmon has written of an instance is stored; false when that took more than 2 s. */
  flush(instance: string): Promise<boolean> {
    return this.#collector.flush(instance)
  }

  /** The instance has ended: the rest is copied. Throws `output-incomplete`. */
  finish(instance: string): Promise<void> {
    return this.#collector.finish(instance)
  }

  /** The output files of an instance are gone. */
  forget(instance: string, owner: FunctionName): Promise<void> {
    return this.#collector.forget(instance, owner)
  }

  /** A deleted function's lines go; its instances must have been forgotten before. */
  remove(owner: FunctionName): Promise<void> {
    return this.#store.remove(owner)
  }

  /** Stops copying. The next process goes on where this one stopped. */
  async close(): Promise<void> {
    clearInterval(this.#sweeper)
    await this.#collector.close()
    await this.#store.close()
  }
}
