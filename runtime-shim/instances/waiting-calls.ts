/** What a waiting call does before it can take a slot: its body is read. Rejects with why it never will. */
export type Prepare = () => Promise<void>

export interface WaitingCall<T> {
  /** By `performance.now()`. */
  since: number
  resolve: (slot: T) => void
  reject: (reason: unknown) => void
}

interface Entry<T> extends WaitingCall<T> {
  prepare: Prepare | undefined
  /** `ready` can take a slot; `slow` is being prepared for long. */
  state: 'unprepared' | 'preparing' | 'slow' | 'ready'
}

/** So many at the head are prepared: their bodies are read while they wait. Those behind keep theirs unread. */
const PREPARED_AHEAD = 8
/** One that is prepared for longer than this is slow, and the next begins beside it. */
const SLOW_MS = 1_000

/** Calls that wait for a slot, in the order in which they came. One that is not prepared yet lets the next one pass, so that a slow caller keeps no slot empty. */
export class WaitingCalls<T> {
  readonly #entries: Entry<T>[] = []
  readonly #onReady: () => void

  /** `onReady` is told when one more could take a slot. */
  constructor(onReady: () => void) {
    this.#onReady = onReady
  }

  get length(): number {
    return this.#entries.length
  }

  /** Those that could take a slot now or soon. */
  get wanting(): number {
    return this.#entries.filter(({ state }) => state === 'ready' || state === 'preparing').length
  }

  /** Settles with a slot, with what `prepare` rejects with, or with the signal's reason. */
  wait(signal: AbortSignal, prepare?: Prepare): Promise<T> {
    const { promise, resolve, reject } = Promise.withResolvers<T>()
    const state = prepare === undefined ? 'ready' : 'unprepared'
    const entry: Entry<T> = { since: performance.now(), resolve, reject, prepare, state }
    const onAbort = (): void => this.#give(entry, signal.reason)
    signal.addEventListener('abort', onAbort, { once: true })
    this.#entries.push(entry)
    this.#prepare()
    return promise.finally(() => signal.removeEventListener('abort', onAbort))
  }

  /** The first that can take a slot now; it waits no more. */
  next(): WaitingCall<T> | undefined {
    const at = this.#entries.findIndex(({ state }) => state === 'ready')
    return at === -1 ? undefined : this.#remove(at, 1)[0]
  }

  /** The first so many, prepared or not: they wait no more. */
  take(count: number): WaitingCall<T>[] {
    return this.#remove(0, count)
  }

  #remove(at: number, count: number): Entry<T>[] {
    const removed = this.#entries.splice(at, count)
    this.#prepare()
    return removed
  }

  #give(entry: Entry<T>, reason: unknown): void {
    const at = this.#entries.indexOf(entry)
    if (at === -1) return
    this.#remove(at, 1)
    entry.reject(reason)
  }

  #prepare(): void {
    let ahead = 0
    for (const entry of this.#entries) {
      if (ahead >= PREPARED_AHEAD) return
      if (entry.state === 'unprepared') this.#begin(entry)
      if (entry.state !== 'slow') ahead += 1
    }
  }

  #begin(entry: Entry<T>): void {
    entry.state = 'preparing'
    const timer = setTimeout(() => {
      entry.state = 'slow'
      this.#prepare()
    }, SLOW_MS).unref()
    entry
      .prepare?.()
      .then(
        () => {
          entry.state = 'ready'
          this.#onReady()
        },
        (thrown: unknown) => this.#give(entry, thrown),
      )
      .finally(() => clearTimeout(timer))
  }
}
