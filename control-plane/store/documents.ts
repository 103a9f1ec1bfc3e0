import type { DocumentStore } from './store.ts'
import type { Writer } from './writer.ts'

/** Documents in memory; a change is seen after it is durable. */
export class MemoryDocuments implements DocumentStore {
  readonly #writer: Writer
  readonly #collections = new Map<string, Map<string, unknown>>()

  constructor(writer: Writer, contents: readonly { collection: string; key: string; document: unknown }[]) {
    this.#writer = writer
    for (const { collection, key, document } of contents) this.#collection(collection).set(key, document)
  }

  get(collection: string, key: string): unknown {
    return this.#collections.get(collection)?.get(key)
  }

  list(collection: string): { key: string; document: unknown }[] {
    const entries = [...(this.#collections.get(collection) ?? [])].map(([key, document]) => ({ key, document }))
    return entries.sort((a, b) => (a.key < b.key ? -1 : 1))
  }

  async put(collection: string, key: string, document: unknown): Promise<void> {
    await this.#writer.request('putDocument', { collection, key, document })
    this.#collection(collection).set(key, document)
  }

  async delete(collection: string, key: string): Promise<boolean> {
    const existed = await this.#writer.request('deleteDocument', { collection, key })
    this.#collections.get(collection)?.delete(key)
    return existed
  }

  #collection(name: string): Map<string, unknown> {
    const known = this.#collections.get(name)
    if (known !== undefined) return known
    const made = new Map<string, unknown>()
    this.#collections.set(name, made)
    return made
  }
}
