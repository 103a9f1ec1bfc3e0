const FIRST_MS = 1_000
const LONGEST_MS = 60_000
/** An instance that listened this long was no failure, however it ended. */
const HEALTHY_MS = 10_000

/**
 * When a provisioned instance that failed or ended by itself is replaced: the first at once, then after 1, 2, 4 … 60 s, until one lives.
 * Pure but for what it remembers; times are given.
 */
export class KeepUp {
  #failures = 0
  #notBeforeMs = 0
  #problem: string | undefined

  /** A start failed, or an instance ended that nobody had asked to end. */
  failed(why: string, nowMs: number, livedMs = 0): void {
    this.#failures = livedMs >= HEALTHY_MS ? 1 : this.#failures + 1
    this.#problem = why
    const waitMs = this.#failures === 1 ? 0 : Math.min(LONGEST_MS, FIRST_MS * 2 ** (this.#failures - 2))
    this.#notBeforeMs = nowMs + waitMs
  }

  /** An instance has listened for `livedMs`. */
  lives(livedMs: number): void {
    if (livedMs < HEALTHY_MS) return
    this.#failures = 0
    this.#problem = undefined
  }

  waitMs(nowMs: number): number {
    return Math.max(0, this.#notBeforeMs - nowMs)
  }

  /** Why there may be fewer than asked for. */
  problem(nowMs: number): string | undefined {
    const waitMs = this.waitMs(nowMs)
    if (this.#problem === undefined || waitMs === 0) return this.#problem
    return `${this.#problem}; tried again in ${Math.ceil(waitMs / 1_000)} s`
  }
}
