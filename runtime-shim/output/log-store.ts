import { type Dirent } from 'node:fs'
import { readdir, rm, rmdir, stat, unlink } from 'node:fs/promises'
import { join } from 'node:path'
import { NAME_PATTERN } from '../../api/index.ts'
import { AppError, errnoOf } from '../../common/index.ts'
import type { FunctionName } from './calls.ts'
import { DEFAULT_LIMITS, FunctionLog, type LogLimits } from './function-log.ts'

/** Logs that nobody copies to or follows are closed beyond this number. */
const MAX_IDLE_LOGS = 64
const NAME = new RegExp(NAME_PATTERN)

interface Entry {
  log: Promise<FunctionLog>
  users: number
}

/** The logs of all functions below one directory, `NAMESPACE/FUNCTION/`: each is opened once, however many write and read it. */
export class LogStore {
  readonly #directory: string
  readonly #limits: LogLimits
  /** In order of use. */
  readonly #logs = new Map<string, Entry>()

  constructor(directory: string, limits: Partial<LogLimits> = {}) {
    this.#directory = directory
    this.#limits = { ...DEFAULT_LIMITS, ...limits }
  }

  /** Runs `work` with the log of a function, which stays open meanwhile. */
  async use<T>(owner: FunctionName, work: (log: FunctionLog) => Promise<T>): Promise<T> {
    const log = await this.acquire(owner)
    try {
      return await work(log)
    } finally {
      this.release(owner)
    }
  }

  /** The log of a function; it stays open until `release`. Throws `invalid-name`. */
  async acquire(owner: FunctionName): Promise<FunctionLog> {
    const path = this.#path(owner)
    const entry = this.#logs.get(path) ?? { log: FunctionLog.open(path, this.#limits), users: 0 }
    this.#logs.delete(path)
    this.#logs.set(path, entry)
    entry.users += 1
    try {
      return await entry.log
    } catch (thrown) {
      if (this.#logs.get(path) === entry) this.#logs.delete(path)
      throw thrown
    }
  }

  release(owner: FunctionName): void {
    const entry = this.#logs.get(this.#path(owner))
    if (entry !== undefined) entry.users = Math.max(0, entry.users - 1)
    this.#closeIdle()
  }

  /** The function is deleted: its lines go. */
  async remove(owner: FunctionName): Promise<void> {
    const path = this.#path(owner)
    const entry = this.#logs.get(path)
    this.#logs.delete(path)
    await (await entry?.log)?.close()
    await rm(path, { recursive: true, force: true })
  }

  /** Enforces the age limit everywhere, also for functions that nobody uses. */
  async sweep(nowMs: number): Promise<void> {
    for (const namespace of await directories(this.#directory)) {
      for (const name of await directories(join(this.#directory, namespace))) {
        const entry = this.#logs.get(join(this.#directory, namespace, name))
        if (entry !== undefined) await (await entry.log).sweep(nowMs)
        else await this.#sweepUnused(join(this.#directory, namespace, name), nowMs - this.#limits.ageMs)
      }
    }
  }

  async close(): Promise<void> {
    const entries = [...this.#logs.values()]
    this.#logs.clear()
    for (const { log } of entries) await (await log).close()
  }

  #path({ namespace, function: name }: FunctionName): string {
    for (const part of [namespace, name]) {
      if (!NAME.test(part)) {
        throw new AppError(`not a name of a namespace or function: ${part}`, { code: 'invalid-name', fault: 'user' })
      }
    }
    return join(this.#directory, namespace, name)
  }

  #closeIdle(): void {
    let idle = [...this.#logs.values()].filter(({ users }) => users === 0).length
    for (const [path, { log, users }] of this.#logs) {
      if (idle <= MAX_IDLE_LOGS) return
      if (users > 0) continue
      idle -= 1
      this.#logs.delete(path)
      void log.then((open) => open.close()).catch(() => undefined)
    }
  }

  /** The last write of a segment tells its age. */
  async #sweepUnused(path: string, oldestMs: number): Promise<void> {
    for (const name of await readdir(path)) {
      if (this.#logs.has(path)) return
      const found = await stat(join(path, name)).catch(() => undefined)
      if (found !== undefined && found.mtimeMs < oldestMs) await unlink(join(path, name))
    }
    await rmdir(path).catch((thrown: unknown) => {
      if (errnoOf(thrown) !== 'ENOTEMPTY' && errnoOf(thrown) !== 'ENOENT') throw thrown
    })
  }
}

async function directories(path: string): Promise<string[]> {
  const entries: Dirent[] = await readdir(path, { withFileTypes: true }).catch(() => [])
  return entries.filter((entry) => entry.isDirectory()).map(({ name }) => name)
}
