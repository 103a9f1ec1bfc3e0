import type { Version } from '../api/index.ts'
import type { VersionPool } from './instances/index.ts'

export interface VersionPoolsOptions {
  make: (version: Version) => VersionPool
  /** The version that serves now, or undefined. */
  find: (namespace: string, name: string) => Version | undefined
}

/** The pools of all functions: one of the revision that serves, and those of older ones until their last instance has ended. */
export class VersionPools {
  readonly #options: VersionPoolsOptions
  readonly #serving = new Map<string, VersionPool>()
  readonly #retired = new Set<VersionPool>()

  constructor(options: VersionPoolsOptions) {
    this.#options = options
  }

  get all(): VersionPool[] {
    return [...this.#serving.values(), ...this.#retired]
  }

  ofFunction(namespace: string, name: string): VersionPool[] {
    return this.all.filter(({ version }) => version.namespace === namespace && version.function === name)
  }

  /** The pool of exactly this revision. A newer one retires the older; a call that read its version before a change finds the older. */
  of(version: Version): VersionPool {
    const key = poolKey(version)
    const known = this.#serving.get(key) ?? [...this.#retired].find((pool) => poolKey(pool.version) === key)
    if (known !== undefined) return known
    const pool = this.#options.make(version)
    if (this.#isNewest(version)) this.#serving.set(key, pool)
    else this.#retire(pool)
    return pool
  }

  deleteFunction(namespace: string, name: string): void {
    for (const [key, pool] of this.#serving) {
      if (!key.startsWith(`${namespace}/${name}@`)) continue
      this.#serving.delete(key)
      this.#retired.add(pool)
      pool.close()
    }
  }

  /** After instances of an earlier server were put in. */
  pumpServing(): void {
    for (const pool of this.#serving.values()) pool.pump()
  }

  /** Ends what is idle, and forgets pools that are empty. */
  sweep(nowMs: number): void {
    for (const pool of this.#serving.values()) pool.endIdle(nowMs)
    for (const pool of this.#retired) if (pool.empty) this.#retired.delete(pool)
  }

  /** Retires the older ones. */
  #isNewest(version: Version): boolean {
    const key = poolKey(version)
    const prefix = key.slice(0, key.lastIndexOf('@') + 1)
    // A call that was read before its function was deleted must not leave a pool that is kept filled.
    let isNewest = this.#options.find(version.namespace, version.function) !== undefined
    for (const [other, old] of this.#serving) {
      if (!other.startsWith(prefix)) continue
      if (old.version.revision > version.revision) isNewest = false
      else {
        this.#serving.delete(other)
        this.#retire(old)
      }
    }
    return isNewest
  }

  #retire(pool: VersionPool): void {
    this.#retired.add(pool)
    pool.retire()
  }
}

function poolKey({ namespace, function: name, version, revision }: Version): string {
  return `${namespace}/${name}@${version}@${revision}`
}
