import { InstanceCalls } from './attribute.ts'
import { nowUs } from './clock.ts'

export interface FunctionName {
  namespace: string
  function: string
}

/** A call began or ended on an instance. */
export interface CallEvent {
  kind: 'begin' | 'end'
  instance: string
  owner: FunctionName
  requestId: string
  atUs: number
}

/**
 * The calls that instances serve now, told by whoever forwards them: `begin` before the first byte is sent, `end` when the answer is
 * complete or given up. Both are a few operations in memory. Instances that are not attached are ignored.
 */
export class CallSpans {
  readonly #instances = new Map<string, { owner: FunctionName; calls: InstanceCalls }>()
  readonly #listeners = new Set<(event: CallEvent) => void>()

  begin(instance: string, requestId: string, sinceMs?: number): void {
    this.#tell('begin', instance, requestId, sinceMs === undefined ? nowUs() : sinceMs * 1_000)
  }

  end(instance: string, requestId: string): void {
    this.#tell('end', instance, requestId, nowUs())
  }

  /** Calls of a function that are being served. */
  running(owner: FunctionName): CallEvent[] {
    const running: CallEvent[] = []
    for (const [instance, known] of this.#instances) {
      if (known.owner.namespace !== owner.namespace || known.owner.function !== owner.function) continue
      for (const { requestId, atUs } of known.calls.running) {
        running.push({ kind: 'begin', instance, owner: known.owner, requestId, atUs })
      }
    }
    return running.sort((a, b) => a.atUs - b.atUs)
  }

  attach(instance: string, owner: FunctionName): InstanceCalls {
    const known = this.#instances.get(instance)
    if (known !== undefined) return known.calls
    const calls = new InstanceCalls()
    this.#instances.set(instance, { owner, calls })
    return calls
  }

  detach(instance: string): void {
    this.#instances.delete(instance)
  }

  /** Answers how to stop listening. */
  listen(listener: (event: CallEvent) => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  #tell(kind: 'begin' | 'end', instance: string, requestId: string, atUs: number): void {
    const known = this.#instances.get(instance)
    if (known === undefined) return
    known.calls[kind](requestId, atUs)
    for (const listener of this.#listeners) listener({ kind, instance, owner: known.owner, requestId, atUs })
  }
}
