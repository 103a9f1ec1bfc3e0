import { setTimeout as sleep } from 'node:timers/promises'

export interface RetryOptions {
  /** Tries in all. Default 5. */
  attempts?: number
  /** First wait, doubled each time. Default 200 ms. */
  baseMs?: number
  /** Longest wait. Default 5,000 ms. */
  maxMs?: number
  signal?: AbortSignal
  /** Whether this failure may be tried again; a number is a wait in ms that the other side asked for. */
  retryable: (thrown: unknown) => boolean | number
}

/** Calls `work` until it succeeds, with exponential waits and full jitter between the tries. */
export async function retry<T>(work: (attempt: number) => Promise<T>, options: RetryOptions): Promise<T> {
  const { attempts = 5, baseMs = 200, maxMs = 5_000, signal } = options
  for (let attempt = 1; ; attempt += 1) {
    signal?.throwIfAborted()
    try {
      return await work(attempt)
    } catch (thrown) {
      const answer = options.retryable(thrown)
      if (answer === false || attempt >= attempts || signal?.aborted === true) throw thrown
      const asked = typeof answer === 'number' ? answer : 0
      const wait = Math.max(asked, Math.random() * Math.min(maxMs, baseMs * 2 ** (attempt - 1)))
      await sleep(wait, undefined, signal === undefined ? {} : { signal })
    }
  }
}
