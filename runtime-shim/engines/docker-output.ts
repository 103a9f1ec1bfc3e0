import type { Readable } from 'node:stream'
import { setTimeout as sleep } from 'node:timers/promises'
import { type Logger, messageOf } from '../../common/index.ts'
import { type DockerApi, statusOf } from './docker-api.ts'
import { LogFrames, type LogRecord, sinceParameter } from './docker-log.ts'
import type { OutputFile } from './docker-output-file.ts'
import type { LogPosition, StreamState } from './docker-position.ts'

/** How long a little output waits for more. */
const GATHER_MS = 5
const SMALL_BYTES = 16 * 1024
const FIRST_RETRY_MS = 50
const LONGEST_RETRY_MS = 5_000
/** Once the process is gone the log ends by itself; a stream that stands still instead is cut, and read again from the position. */
const IDLE_AFTER_END_MS = 2_000
/** How long the end of an instance may wait for what the Engine still has of its output. */
const FINISH_TIMEOUT_MS = 30_000

/**
 * Copies a container's log into the instance's output file while it grows, over restarts of the Engine and of this process: each reading
 * begins at the file's position, and what has been copied already is skipped by number.
 */
export class OutputFollower {
  readonly #api: DockerApi
  readonly #container: string
  readonly #file: OutputFile
  readonly #log: Logger
  readonly #stopping = new AbortController()
  readonly #ended = Promise.withResolvers<void>()
  #processGone = false
  #running: Promise<void> | undefined

  constructor(api: DockerApi, container: string, file: OutputFile, log: Logger) {
    this.#api = api
    this.#container = container
    this.#file = file
    this.#log = log
  }

  /** Begins to copy. */
  start(): void {
    this.#running ??= this.#run()
  }

  /** The process is gone: returns when all that it has written is in the file. */
  async finish(): Promise<void> {
    this.#processGone = true
    this.#ended.resolve()
    this.start()
    const late = sleep(FINISH_TIMEOUT_MS, undefined, { ref: false })
    await Promise.race([this.#running, late])
    await this.close()
  }

  async close(): Promise<void> {
    this.#stopping.abort()
    this.#ended.resolve()
    await this.#running
  }

  /** Reads until a reading that began after the end of the process has come to its own end. */
  async #run(): Promise<void> {
    let retryMs = FIRST_RETRY_MS
    while (!this.#stopping.signal.aborted && !this.#api.closing.aborted) {
      const wasGone = this.#processGone
      const result = await this.#read().catch((thrown: unknown) => this.#failed(thrown))
      if (result === 'gone' || (result === 'end' && wasGone)) return
      if (result === 'again') {
        retryMs = FIRST_RETRY_MS
        continue
      }
      await Promise.race([this.#ended.promise, sleep(retryMs, undefined, { ref: false })])
      if (result === 'failed') await sleep(retryMs, undefined, { ref: false })
      retryMs = Math.min(LONGEST_RETRY_MS, retryMs * 2)
    }
  }

  #failed(thrown: unknown): 'failed' {
    const stopped = this.#stopping.signal.aborted || this.#api.closing.aborted
    if (!stopped)
      this.#log.warn({ container: this.#container, why: messageOf(thrown) }, 'reading of output interrupted')
    return 'failed'
  }

  /** One reading of the log from the position on. `again`: what comes has been copied before, so a new reading must find the place. */
  async #read(): Promise<'end' | 'again' | 'gone' | 'failed'> {
    const cut = new AbortController()
    const idle = setTimeout(() => this.#processGone && cut.abort(), IDLE_AFTER_END_MS).unref()
    void this.#ended.promise.then(() => idle.refresh())
    try {
      return await this.#copy(await this.#open(AbortSignal.any([cut.signal, this.#stopping.signal])), () =>
        idle.refresh(),
      )
    } catch (thrown) {
      // 404: there is no such container; 409: it is being removed.
      if ([404, 409].includes(statusOf(thrown) ?? 0)) return 'gone'
      throw thrown
    } finally {
      clearTimeout(idle)
    }
  }

  #open(signal: AbortSignal): Promise<Readable> {
    const { since } = this.#file.position.resume
    const container = this.#api.container(this.#container)
    const options = { follow: true, stdout: true, stderr: true, timestamps: true } as const
    // The Engine takes fractions of a second, which the client's types do not know.
    const from = since === '' ? {} : { since: sinceParameter(since) as unknown as number }
    return this.#api.openStream(
      `reading the log of ${this.#container}`,
      (abortSignal) => container.logs({ ...options, ...from, abortSignal }),
      signal,
    )
  }

  async #copy(stream: Readable, alive: () => void): Promise<'end' | 'again'> {
    const frames = new LogFrames()
    const skip = new Skip(this.#file.position, this.#log)
    for await (const chunk of gather(stream)) {
      alive()
      const fresh: LogRecord[] = []
      for (const record of frames.push(chunk)) {
        const verdict = skip.judge(record)
        if (verdict === 'again') {
          if (fresh.length > 0) await this.#file.append(fresh)
          return 'again'
        }
        if (verdict === 'new') fresh.push(record)
      }
      if (fresh.length > 0) await this.#file.append(fresh)
    }
    return 'end'
  }
}

/** What has come together: the Engine sends each line by itself, and a write for each of them would cost more than all the rest. */
async function* gather(stream: Readable): AsyncGenerator<Buffer> {
  for await (const first of stream as AsyncIterable<Buffer>) {
    const chunks = [first]
    if (takeWaiting(stream, chunks) < SMALL_BYTES) {
      await sleep(GATHER_MS)
      takeWaiting(stream, chunks)
    }
    yield Buffer.concat(chunks)
  }
}

/** Moves what the stream holds (bounded by its high-water mark) into `chunks`; answers how many bytes there are now. */
function takeWaiting(stream: Readable, chunks: Buffer[]): number {
  for (let next = stream.read() as Buffer | null; next !== null; next = stream.read() as Buffer | null)
    chunks.push(next)
  return chunks.reduce((sum, chunk) => sum + chunk.length, 0)
}

/** Tells what has been copied already from what is new, within one reading. */
class Skip {
  readonly #position: LogPosition
  readonly #log: Logger
  readonly #since: string
  #left: number
  /** Set when the log's beginning is missing: then only times can tell. */
  #until = ''
  #isFirst = true
  /** The last record of each stream, from the first new one on. */
  #last: Record<LogRecord['stream'], StreamState> | undefined

  constructor(position: LogPosition, log: Logger) {
    this.#position = position
    this.#log = log
    this.#since = position.resume.since
    this.#left = position.resume.seen
  }

  /** `again`: the log went back to records that are copied already, so only a new reading finds the place. */
  judge(record: LogRecord): 'old' | 'new' | 'again' {
    if (this.#isFirst) this.#checkFirst(record)
    if (this.#left > 0) {
      this.#left -= 1
      return 'old'
    }
    if (record.time <= this.#until) return 'old'
    // Engines before 23 send a log file from its start again after rotating it. Right after a skip it is the clock that was set back.
    if (this.#last !== undefined && !follows(record, this.#last[record.stream])) return 'again'
    this.#last ??= this.#position.last
    this.#last[record.stream] = { time: record.time, open: !record.whole }
    return 'new'
  }

  /** The first record must be the anchor's own; if it is a later one, the Engine has dropped what came before. */
  #checkFirst(record: LogRecord): void {
    this.#isFirst = false
    if (this.#since === '' || record.time === this.#since) return
    this.#log.warn({ since: this.#since, found: record.time }, 'the Engine dropped output before it was copied')
    this.#left = 0
    this.#until = this.#position.latest
  }
}

/** Within a stream times only grow, but for the parts of one line, which carry the same. */
function follows(record: LogRecord, last: StreamState): boolean {
  return last.open ? record.time >= last.time : record.time > last.time
}
