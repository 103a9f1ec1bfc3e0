/** What a pool is, in numbers. */
export interface PoolNumbers {
  /** Calls that wait for a slot. */
  waiting: number
  /** Instances that are being started (or created for a start). */
  starting: number
  /** Instances made but not started, kept by `prewarm`. */
  created: number
  creating: number
  ready: number
}

export interface PoolLimits {
  concurrency: number
  maxInstances: number
  prewarm: number
}

export interface PoolDecision {
  /** Instances to start now (a created one first). */
  start: number
  /** Instances to create ahead now. */
  create: number
}

/**
 * Until scaling by load is built: a call without a free slot starts an instance, up to `maxInstances`; `prewarm` is kept filled.
 * Created instances do not count against `maxInstances`: they run nothing.
 */
export function decide(numbers: PoolNumbers, limits: PoolLimits): PoolDecision {
  const wanted = Math.ceil(numbers.waiting / limits.concurrency) - numbers.starting
  const room = limits.maxInstances - numbers.ready - numbers.starting
  const start = Math.max(0, Math.min(wanted, room))
  const createdAfter = Math.max(0, numbers.created - start) + numbers.creating
  return { start, create: Math.max(0, limits.prewarm - createdAfter) }
}
