import { earlier, type LogRecord } from './docker-log.ts'

/** A point in a container's log from which it can be read again: the records from time `since` on, of which `seen` are copied already. */
export interface Anchor {
  /** Time of the anchor's own record; the empty text stands for the beginning of the log. */
  since: string
  seen: number
}

export interface StreamState {
  time: string
  /** Its last record was a part: the next ones carry the same time, however late they come. */
  open: boolean
}

/** The form in which a position is written down. */
export interface PlainPosition {
  anchors: Anchor[]
  latest: string
  streams: { stdout: StreamState; stderr: StreamState }
}

/** Records are stamped before they are queued, so those of two streams can change places by less than this. */
const DISORDER_MS = 1_000
const MAX_ANCHORS = 16

/**
 * How far a container's log has been copied. The Engine's API can only be asked for records from a time on, and times are neither unique
 * (all parts of a long line carry one) nor in strict order (two streams), so a position is a time and the number of records from that time on
 * that have been copied: the API filters by the same rule, hence the same number can be skipped when the log is read again.
 */
export class LogPosition {
  #anchors: Anchor[]
  #latest: string
  readonly #streams: PlainPosition['streams']

  constructor(plain?: PlainPosition) {
    this.#anchors = plain?.anchors ?? [{ since: '', seen: 0 }]
    this.#latest = plain?.latest ?? ''
    this.#streams = plain?.streams ?? { stdout: { time: '', open: false }, stderr: { time: '', open: false } }
  }

  /** The latest point before which nothing new can appear any more. */
  get resume(): Anchor {
    const [oldest] = this.#anchors
    return { ...(oldest as Anchor) }
  }

  /** Time of the newest record. */
  get latest(): string {
    return this.#latest
  }

  /** The last record of each stream. */
  get last(): PlainPosition['streams'] {
    return { ...this.#streams }
  }

  /** Counts a record that has been copied. */
  add(record: Pick<LogRecord, 'time' | 'stream' | 'whole'>): void {
    for (const anchor of this.#anchors) if (record.time >= anchor.since) anchor.seen += 1
    this.#streams[record.stream] = { time: record.time, open: !record.whole }
    if (record.time <= this.#latest) return
    this.#latest = record.time
    this.#moveOn()
  }

  toPlain(): PlainPosition {
    return { anchors: this.#anchors.map((anchor) => ({ ...anchor })), latest: this.#latest, streams: this.#streams }
  }

  /** The newest record becomes an anchor now and then; anchors before the newest safe one are dropped. */
  #moveOn(): void {
    const settled = earlier(this.#latest, DISORDER_MS)
    const last = this.#anchors.at(-1)
    if (last !== undefined && last.since <= settled && this.#anchors.length < MAX_ANCHORS) {
      this.#anchors.push({ since: this.#latest, seen: 1 })
    }
    const open = Object.values(this.#streams).filter((stream) => stream.open)
    const safe = open.reduce((least, stream) => (stream.time < least ? stream.time : least), settled)
    const keep = this.#anchors.findLastIndex((anchor) => anchor.since <= safe)
    if (keep > 0) this.#anchors = this.#anchors.slice(keep)
  }
}
