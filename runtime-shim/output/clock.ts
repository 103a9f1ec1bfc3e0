/// <reference lib="esnext.temporal" />

/**
 * The time of day in microseconds since 1970 (a whole number below 2^53): the clock that conmon stamps lines with, so that calls and
 * lines can be compared. `Date.now()` is too coarse for that, and `performance.now()` alone runs away from it when the clock is adjusted.
 */
export function nowUs(): number {
  const sinceStartMs = performance.now()
  if (sinceStartMs - comparedAtMs > COMPARE_EVERY_MS) {
    offsetUs = Number(Temporal.Now.instant().epochNanoseconds / 1000n) - sinceStartMs * 1000
    comparedAtMs = sinceStartMs
  }
  return Math.floor(sinceStartMs * 1000 + offsetUs)
}

/** Reading the exact time of day costs 3 µs, and each call does it twice: in between, the cheap clock goes on from the last reading. */
const COMPARE_EVERY_MS = 20
let comparedAtMs = Number.NEGATIVE_INFINITY
let offsetUs = 0

/** `2026-11-21T00:34:47.915381Z`. */
export function isoTime(timeUs: number): string {
  const whole = Math.floor(timeUs)
  const ms = Math.floor(whole / 1000)
  return `${new Date(ms).toISOString().slice(0, -1)}${String(whole - ms * 1000).padStart(3, '0')}Z`
}
