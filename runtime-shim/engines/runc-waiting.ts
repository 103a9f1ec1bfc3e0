import { randomBytes } from 'node:crypto'
import { mkdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { messageOf } from '../../common/index.ts'
import { instanceNames } from '../../sandbox/index.ts'
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
  readonly #ready: string[] = []
  /** Handed out and not yet taken by a create. */
  readonly #reserved = new Set<string>()
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
    const id = this.#ready.shift()
    this.#refillSoon(REFILL_DELAY_MS)
    if (id === undefined) return newId()
    this.#reserved.add(id)
    return id
  }

  /** Whether a sandbox waits under this id; it belongs to the caller from then on. */
  take(id: string): boolean {
    return this.#reserved.delete(id)
  }

  has(id: string): boolean {
    return this.#ready.includes(id)
  }

  forget(id: string): void {
    this.#reserved.delete(id)
    const index = this.#ready.indexOf(id)
    if (index !== -1) this.#ready.splice(index, 1)
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
    for (const id of this.#ready.splice(0)) await this.#discard(id)
  }

  #refillSoon(delayMs: number): void {
    if (this.#closed || this.#ready.length >= this.#target) return
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
    while (!this.#closed && this.#ready.length < this.#target) {
      const id = newId()
      const directory = this.#directory(id)
      try {
        mkdirSync(directory, { mode: 0o700 })
        await makeSandbox(this.#tools, instanceNames(this.#tools.hash, id, directory), this.#tmpBytes)
        this.#ready.push(id)
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
