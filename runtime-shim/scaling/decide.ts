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
  /** Instances that end, and those of older revisions that have not ended yet: they take no call, and count against the cap. */
  leaving: number
}

export interface PoolLimits {
  concurrency: number
  maxInstances: number
  prewarm: number
  provisioned: number
}

export interface PoolDecision {
  /** Instances to start now for calls (a created one first). */
  start: number
  /** Instances to start now because so many are to listen whatever the load. */
  provision: number
  /** Instances to create ahead now. */
  create: number
}

/** Provisioned instances started at once: more of them would only take the processor from each other and from calls. */
const PROVISION_AT_ONCE = 4

/**
 * A call without a free slot starts an instance, up to `maxInstances`; `provisioned` instances listen, busy or not; `prewarm` is kept filled.
 * Created instances do not count against `maxInstances`: they run nothing.
 */
export function decide(numbers: PoolNumbers, limits: PoolLimits): PoolDecision {
  const { ready, starting, leaving } = numbers
  const wanted = Math.ceil(numbers.waiting / limits.concurrency) - starting
  const room = limits.maxInstances - ready - leaving - starting
  const start = atLeast0(Math.min(wanted, room))
  const missing = limits.provisioned - ready - starting - start
  const provision = atLeast0(Math.min(missing, room - start, PROVISION_AT_ONCE - starting - start))
  const createdAfter = atLeast0(numbers.created - start - provision) + numbers.creating
  return { start, provision, create: atLeast0(limits.prewarm - createdAfter) }
}

function atLeast0(value: number): number {
  return Math.max(0, value)
}
