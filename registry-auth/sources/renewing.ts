import { SingleFlight } from '../../common/index.ts'

export interface Expiring<T> {
  value: T
  /** ms since 1970 */
  expiresAtMs: number
}

interface Kept<T> extends Expiring<T> {
  /** From then on a use starts a renewal beside it. */
  renewAtMs: number
}

export interface RenewingOptions {
  now?: () => number
  /** 0 to 1. */
  random?: () => number
  /** Told a renewal that failed while the old value is still served. */
  onRenewalFailed?: (key: string, thrown: unknown) => void
}

const MAX_KEPT = 1_000
const MIN_LEFT_MS = 60_000
/** After a failed renewal the next one waits: a provider that throttles is not helped by more calls. */
const RETRY_MS = 30_000

/**
 * Keeps values that expire, by key. Each is renewed early, when between a fifth and a tenth of its life (at least a minute) is left,
 * at an instant of its own so that many do not renew together; the old one is served meanwhile, and to its end when the renewal
 * fails. One renewal for a key at a time. (Rule: facts of the providers, refresh at max(60 s, 10 % of the lifetime).)
 */
export class Renewing<T> {
  readonly #kept = new Map<string, Kept<T>>()
  readonly #flights = new SingleFlight<Expiring<T>>()
  readonly #now: () => number
  readonly #random: () => number
  readonly #onRenewalFailed: RenewingOptions['onRenewalFailed']

  constructor({ now = Date.now, random = Math.random, onRenewalFailed }: RenewingOptions = {}) {
    this.#now = now
    this.#random = random
    this.#onRenewalFailed = onRenewalFailed
  }

  /** The value for `key`; `make` is asked for one when there is none, or none that lasts. */
  async get(
    key: string,
    make: (signal: AbortSignal) => Promise<Expiring<T>>,
    signal?: AbortSignal,
  ): Promise<Expiring<T>> {
    const kept = this.#kept.get(key)
    const nowMs = this.#now()
    if (kept !== undefined && nowMs < kept.renewAtMs) return kept
    if (kept === undefined || kept.expiresAtMs <= nowMs) return this.#renew(key, make, signal)
    kept.renewAtMs = Math.min(nowMs + RETRY_MS, kept.expiresAtMs)
    const renewal = this.#renew(key, make)
    if (kept.expiresAtMs - nowMs > MIN_LEFT_MS) {
      renewal.catch((thrown: unknown) => this.#onRenewalFailed?.(key, thrown))
      return kept
    }
    return renewal.catch((thrown: unknown) => {
      this.#onRenewalFailed?.(key, thrown)
      return kept
    })
  }

  /** Forgets what was kept for keys that begin so: its settings have changed. */
  forget(prefix: string): void {
    for (const key of this.#kept.keys()) if (key.startsWith(prefix)) this.#kept.delete(key)
  }

  async #renew(
    key: string,
    make: (signal: AbortSignal) => Promise<Expiring<T>>,
    signal?: AbortSignal,
  ): Promise<Expiring<T>> {
    const fresh = await this.#flights.run(key, make, signal)
    const nowMs = this.#now()
    const lifeMs = fresh.expiresAtMs - nowMs
    const marginMs = Math.max(MIN_LEFT_MS, lifeMs / 10) * (1 + this.#random())
    const renewAtMs = Math.max(fresh.expiresAtMs - marginMs, nowMs + Math.min(RETRY_MS, lifeMs / 2))
    this.#kept.delete(key)
    this.#kept.set(key, { ...fresh, renewAtMs })
    for (const oldest of this.#kept.keys()) {
      if (this.#kept.size <= MAX_KEPT) break
      this.#kept.delete(oldest)
    }
    return fresh
  }
}
