import type { Access } from './scope.ts'

/** Seconds from `iat` to `exp` of every bearer. Registries accept 60 s more (facts registry-auth 2); answers say `expires_in: 60`. */
export const BEARER_SECONDS = 1
/** How long a registry takes a bearer at most, from the moment it is issued: both times are whole seconds. */
const BEARER_LIFE_MS = (BEARER_SECONDS + 60 + 1) * 1_000

export interface WriteGateOptions {
  now?: () => number
  /** Default 62,000 ms. */
  bearerLifeMs?: number
}

/**
 * Whether bearers that may change the registry are issued. While it is collected none is, except to the collection itself. A gate that
 * has just been made does not know what was issued before it: it counts as if that were now.
 */
export class WriteGate {
  readonly #now: () => number
  readonly #bearerLifeMs: number
  #quietAtMs: number
  #closed: { exceptFor: string; openAtMs: number } | undefined

  constructor({ now = Date.now, bearerLifeMs = BEARER_LIFE_MS }: WriteGateOptions = {}) {
    this.#now = now
    this.#bearerLifeMs = bearerLifeMs
    this.#quietAtMs = now() + bearerLifeMs
  }

  /** From when on the registry refuses every bearer that may change something (ms since 1970). */
  get quietAtMs(): number {
    return this.#quietAtMs
  }

  get isClosed(): boolean {
    return this.#closed !== undefined
  }

  /** Only the user `exceptFor` gets bearers to write from now on. `openAtMs` is what others are told to wait for. */
  close(exceptFor: string, openAtMs: number): void {
    this.#closed = { exceptFor, openAtMs }
  }

  open(): void {
    this.#closed = undefined
  }

  /** Asks for a bearer with this access: undefined when it may be issued, else after how many seconds to ask again. */
  ask(subject: string, access: readonly Access[]): number | undefined {
    const writes = access.some(
      ({ type, actions }) => type === 'repository' && actions.some((action) => action !== 'pull'),
    )
    if (!writes) return undefined
    const nowMs = this.#now()
    if (this.#closed === undefined) this.#quietAtMs = Math.max(this.#quietAtMs, nowMs + this.#bearerLifeMs)
    else if (this.#closed.exceptFor !== subject) {
      return Math.max(2, Math.ceil((this.#closed.openAtMs - nowMs) / 1_000))
    }
    return undefined
  }
}
