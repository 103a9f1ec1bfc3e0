import type { Namespace, Version } from '../../api/index.ts'
import type { Snapshot } from './store.ts'

/** The definitions in memory: what the call path reads. Only the store changes it, after the write is durable. */
export class MemorySnapshot implements Snapshot {
  readonly #namespaces = new Map<string, Namespace>()
  readonly #functions = new Map<string, Map<string, Version>>()

  namespace(name: string): Namespace | undefined {
    return this.#namespaces.get(name)
  }

  namespaces(): Namespace[] {
    return [...this.#namespaces.values()].sort((a, b) => (a.name < b.name ? -1 : 1))
  }

  function(namespace: string, name: string): Version | undefined {
    return this.#functions.get(namespace)?.get(name)
  }

  functions(namespace: string): Version[] {
    const functions = this.#functions.get(namespace)
    return functions === undefined ? [] : [...functions.values()].sort((a, b) => (a.function < b.function ? -1 : 1))
  }

  allFunctions(): Version[] {
    return [...this.#functions.values()].flatMap((functions) => [...functions.values()])
  }

  setNamespace(namespace: Namespace): void {
    this.#namespaces.set(namespace.name, Object.freeze(namespace))
  }

  removeNamespace(name: string): void {
    this.#namespaces.delete(name)
    this.#functions.delete(name)
  }

  setFunction(version: Version): void {
    const functions = this.#functions.get(version.namespace) ?? new Map<string, Version>()
    functions.set(version.function, Object.freeze(version))
    this.#functions.set(version.namespace, functions)
  }

  removeFunction(namespace: string, name: string): void {
    this.#functions.get(namespace)?.delete(name)
  }
}
