import type { Version } from '../../api/index.ts'
import { AppError } from '../../common/index.ts'

interface Bucket {
  left: number
  atMs: number
}

const MINUTE_MS = 60_000

/** How many instances each namespace may start in a minute (facts: scf-contract 1.9, 429): as many at once, then evenly. */
export class StartBudget {
  readonly #perMinute: (namespace: string) => number
  readonly #buckets = new Map<string, Bucket>()

  constructor(perMinute: (namespace: string) => number) {
    this.#perMinute = perMinute
  }

  /** Whether one may be started now; it counts then. */
  take({ namespace }: Pick<Version, 'namespace'>, nowMs = Date.now()): boolean {
    const most = this.#perMinute(namespace)
    const bucket = this.#buckets.get(namespace) ?? { left: most, atMs: nowMs }
    this.#buckets.set(namespace, bucket)
    bucket.left = Math.min(most, bucket.left + ((nowMs - bucket.atMs) / MINUTE_MS) * most)
    bucket.atMs = nowMs
    if (bucket.left < 1) return false
    bucket.left -= 1
    return true
  }

  /** The same for a call that cannot wait. Throws `start-burst`. */
  require(version: Pick<Version, 'namespace'>): void {
    if (this.take(version)) return
    const { namespace } = version
    const most = this.#perMinute(namespace)
    throw new AppError(`namespace ${namespace} may start ${most} instances in a minute, and has`, {
      code: 'start-burst',
      fault: 'user',
      retryable: true,
      hint: 'call more slowly, raise concurrency, or have instances provisioned',
    })
  }
}
