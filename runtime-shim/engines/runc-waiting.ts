import { randomBytes } from 'node:crypto'
import { mkdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { messageOf } from '../../common/index.ts'
import { instanceNames, type Monitor } from '../../sandbox/index.ts'
import { makeSandbox, removeTraces } from './runc-sandbox.ts'
import type { RuncTools } from './runc-tools.ts'

/** A start under way has the processor to itself; the next sandbox is made after it. */
const REFILL_DELAY_MS = 200

/**
 * Sandboxes made before an instance needs them. Each lies in a directory like any instance's, without instance.json: after a crash
 * it is swept like the traces of any instance that nobody knows.
 */
export class WaitingSandboxes {
  readonly #tools: RuncTools
  readonly #target: number
  readonly #tmpBytes: number
  readonly #ready = new Map<string, Monitor>()
  /** Handed out and not yet taken by a create. */
  readonly #reserved = new Map<string, Monitor>()
  #refill: Promise<void> | undefined
  #timer: NodeJS.Timeout | undefined
  #closed = false

  constructor(tools: RuncTools, target: number, tmpBytes: number) {
    this.#tools = tools
    this.#target = target
    this.#tmpBytes = tmpBytes
  }

  get tmpBytes(): number {
    return this.#tmpBytes
  }

  /** An id for a new instance: one whose sandbox waits, if there is one. */
  reserve(): string {
    const [[id, monitor] = []] = this.#ready
    if (id !== undefined) this.#ready.delete(id)
    this.#refillSoon(REFILL_DELAY_MS)
    if (id === undefined || monitor === undefined) return newId()
    this.#reserved.set(id, monitor)
    return id
  }

  /** The monitor of the sandbox that waits under this id, if there is one; both belong to the caller from then on. */
  take(id: string): Monitor | undefined {
    const monitor = this.#reserved.get(id)
    this.#reserved.delete(id)
    return monitor
  }

  has(id: string): boolean {
    return this.#ready.has(id)
  }

  forget(id: string): void {
    for (const sandboxes of [this.#reserved, this.#ready]) {
      sandboxes.get(id)?.discard()
      sandboxes.delete(id)
    }
  }

  /** Settles when as many sandboxes wait as were asked for, or making one has failed. */
  async full(): Promise<void> {
    this.#refillSoon(0)
    await this.#refill
  }

  async close(): Promise<void> {
    this.#closed = true
    clearTimeout(this.#timer)
    await this.#refill
    for (const [id, monitor] of this.#ready) {
      monitor.discard()
      await this.#discard(id)
    }
    this.#ready.clear()
  }

  #refillSoon(delayMs: number): void {
    if (this.#closed || this.#ready.size >= this.#target) return
    clearTimeout(this.#timer)
    if (delayMs === 0) return this.#startRefill()
    this.#timer = setTimeout(() => this.#startRefill(), delayMs)
    this.#timer.unref()
  }

  #startRefill(): void {
    this.#refill ??= this.#fill().finally(() => {
      this.#refill = undefined
    })
  }

  async #fill(): Promise<void> {
    while (!this.#closed && this.#ready.size < this.#target) {
      const id = newId()
      const directory = this.#directory(id)
      try {
        mkdirSync(directory, { mode: 0o700 })
        const names = instanceNames(this.#tools.hash, id, directory)
        this.#ready.set(id, await makeSandbox(this.#tools, names, this.#tmpBytes))
      } catch (thrown) {
        this.#tools.log.error({ id, why: messageOf(thrown) }, 'a waiting sandbox could not be made')
        await this.#discard(id)
        return
      }
    }
  }

  async #discard(id: string): Promise<void> {
    const directory = this.#directory(id)
    try {
      await removeTraces(this.#tools, instanceNames(this.#tools.hash, id, directory))
      rmSync(directory, { recursive: true, force: true })
    } catch (thrown) {
      this.#tools.log.error({ id, why: messageOf(thrown) }, 'a waiting sandbox could not be removed')
    }
  }

  #directory(id: string): string {
    return join(this.#tools.instancesDirectory, id)
  }
}

function newId(): string {
  return randomBytes(8).toString('hex')
}
