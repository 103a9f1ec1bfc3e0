import { isIPv6 } from 'node:net'

export interface WrongPasswordsOptions {
  now?: () => number
  /** Wrong passwords that one address may send at once. Default 20. */
  burst?: number
  /** How soon one more is allowed. Default 3,000 ms. */
  refillMs?: number
  /** Addresses that are remembered; of more the one longest ago is forgotten. Default 4,096. */
  maxAddresses?: number
}

interface Bucket {
  /** Wrong passwords that count at `atMs`. */
  level: number
  atMs: number
}

/**
 * Counts wrong passwords by address. Who is over the limit is told to wait and leaves no more lines in the log. A right password is taken
 * all the same: guessing 256 random bits needs no hindrance, and behind one address (a loopback, a NAT) nobody may shut out the others.
 */
export class WrongPasswords {
  readonly #buckets = new Map<string, Bucket>()
  readonly #now: () => number
  readonly #burst: number
  readonly #refillMs: number
  readonly #maxAddresses: number

  constructor({ now = Date.now, burst = 20, refillMs = 3_000, maxAddresses = 4_096 }: WrongPasswordsOptions = {}) {
    this.#now = now
    this.#burst = burst
    this.#refillMs = refillMs
    this.#maxAddresses = maxAddresses
  }

  get size(): number {
    return this.#buckets.size
  }

  /** Counts one more. Over the limit it answers how many seconds the address has to wait. */
  count(address: string): number | undefined {
    const key = networkOf(address)
    const nowMs = this.#now()
    const before = this.#buckets.get(key)
    const drained = before === undefined ? 0 : Math.max(0, before.level - (nowMs - before.atMs) / this.#refillMs)
    const isOver = drained + 1 > this.#burst
    this.#buckets.delete(key) // the oldest stands first
    this.#buckets.set(key, { level: isOver ? drained : drained + 1, atMs: nowMs })
    const [oldest] = this.#buckets.keys()
    if (this.#buckets.size > this.#maxAddresses && oldest !== undefined) this.#buckets.delete(oldest)
    return isOver ? Math.max(1, Math.ceil(((drained + 1 - this.#burst) * this.#refillMs) / 1_000)) : undefined
  }
}

/** An IPv6 host has a whole /64 to choose its addresses from. */
function networkOf(address: string): string {
  const mapped = /^::ffff:([0-9.]+)$/i.exec(address)?.[1]
  if (mapped !== undefined || !isIPv6(address)) return mapped ?? address
  const [head = '', tail] = (address.split('%')[0] ?? '').split('::')
  const before = head === '' ? [] : head.split(':')
  const after = tail === undefined || tail === '' ? [] : tail.split(':')
  const zeros = tail === undefined ? [] : Array.from({ length: 8 - before.length - after.length }, () => '0')
  return [...before, ...zeros, ...after].slice(0, 4).join(':').toLowerCase()
}
