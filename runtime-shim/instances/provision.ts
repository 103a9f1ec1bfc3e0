import { KeepUp } from '../scaling/index.ts'
import type { ExitInfo } from './instance.ts'

/** Instances kept listening whatever the load. */
export interface Provisioned {
  wanted: number
  ready: number
  /** Why there are fewer than wanted. */
  problem?: string
}

/** How many instances of a pool are to listen now, and why there may be fewer. */
export class Provision {
  readonly #wanted: number
  readonly #onDue: () => void
  readonly #keepUp = new KeepUp()
  #timer: NodeJS.Timeout | undefined

  /** `onDue` is told when a failed one is to be replaced. */
  constructor(wanted: number, onDue: () => void) {
    this.#wanted = wanted
    this.#onDue = onDue
  }

  failed(why: string): void {
    this.#keepUp.failed(why, Date.now())
  }

  /** One that listened ended by itself. */
  ended({ code, oom }: ExitInfo, readyAtMs: number): void {
    const why = oom
      ? 'an instance was killed for memory'
      : `the process of an instance ended by itself with code ${code}`
    const nowMs = Date.now()
    this.#keepUp.failed(why, nowMs, nowMs - readyAtMs)
  }

  lives(readyAtMs: number): void {
    this.#keepUp.lives(Date.now() - readyAtMs)
  }

  /** None while a failed one is not to be replaced yet. */
  wantedNow(): number {
    const waitMs = this.#wanted === 0 ? 0 : this.#keepUp.waitMs(Date.now())
    if (waitMs === 0) return this.#wanted
    clearTimeout(this.#timer)
    this.#timer = setTimeout(this.#onDue, waitMs).unref()
    return 0
  }

  state(listening: number): Provisioned {
    const wanted = this.#wanted
    const ready = Math.min(wanted, listening)
    if (ready === wanted) return { wanted, ready }
    return { wanted, ready, problem: this.#keepUp.problem(Date.now()) ?? 'they are being started' }
  }
}
