import { deadlineReached } from './outcome.ts'

/** Ends a call from outside, once: at its deadline, or because its caller left. An AbortSignal is made only for those who need one. */
export class Cut {
  readonly deadlineMs: number
  #reason: Error | undefined
  #listener: ((reason: Error) => void) | undefined
  #controller: AbortController | undefined

  /** `deadlineMs` on the clock of `performance.now()`. */
  constructor(deadlineMs: number) {
    this.deadlineMs = deadlineMs
  }

  get signal(): AbortSignal {
    this.#controller ??= new AbortController()
    if (this.#reason !== undefined) this.#controller.abort(this.#reason)
    return this.#controller.signal
  }

  /** The one who does the call's work is told; at once when it has been cut already. */
  onCut(listener: (reason: Error) => void): void {
    if (this.#reason !== undefined) listener(this.#reason)
    else this.#listener = listener
  }

  cut(reason: Error): void {
    if (this.#reason !== undefined) return
    this.#reason = reason
    this.#listener?.(reason)
    this.#controller?.abort(reason)
  }
}

/** A call is ended at most so long after its deadline. */
const TICK_MS = 20

/** The deadlines of all calls, looked at together: a timer and a signal for each call cost three times as much as these few steps. */
export class Deadlines {
  readonly #cuts = new Set<Cut>()
  #timer: NodeJS.Timeout | undefined

  add(cut: Cut): void {
    this.#cuts.add(cut)
    this.#timer ??= setInterval(() => this.#tick(), TICK_MS)
  }

  delete(cut: Cut): void {
    this.#cuts.delete(cut)
  }

  #tick(): void {
    const now = performance.now()
    for (const cut of this.#cuts) {
      if (cut.deadlineMs > now) continue
      this.#cuts.delete(cut)
      cut.cut(deadlineReached())
    }
    if (this.#cuts.size > 0) return
    clearInterval(this.#timer)
    this.#timer = undefined
  }
}
