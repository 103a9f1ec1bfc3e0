import type { InvocationRecord } from '../../api/index.ts'
import type { FunctionName } from './calls.ts'

/** Tells followers of calls that have just finished. */
export class RecordFeed {
  readonly #listeners = new Map<string, Set<(record: InvocationRecord) => void>>()

  /** Costs one look-up when nobody follows the function. */
  tell(record: InvocationRecord): void {
    for (const listener of this.#listeners.get(key(record)) ?? []) listener(record)
  }

  /** Answers how to stop listening. */
  listen(owner: FunctionName, listener: (record: InvocationRecord) => void): () => void {
    const listeners = this.#listeners.get(key(owner)) ?? new Set()
    this.#listeners.set(key(owner), listeners.add(listener))
    return () => {
      listeners.delete(listener)
      if (listeners.size === 0) this.#listeners.delete(key(owner))
    }
  }
}

function key({ namespace, function: name }: FunctionName): string {
  return `${namespace}/${name}`
}
