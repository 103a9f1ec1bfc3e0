import { type FSWatcher, readFileSync, watch } from 'node:fs'
import { constants } from 'node:os'
import { errnoOf, isAlive, type ProcessIdentity } from '../common/index.ts'
import type { InstanceNames } from './names.ts'

const PATROL_MS = 1_000
/** How long conmon may take to write an exit status down after the process has ended. */
const MONITOR_GRACE_MS = 3_000
const KILLED = 128 + constants.signals.SIGKILL

interface Watched {
  names: InstanceNames
  process: ProcessIdentity
  watcher: FSWatcher | undefined
  resolve: (code: number) => void
  goneSinceMs: number | undefined
}

/**
 * Learns of the end of containers: from the exit file that conmon writes, whoever was running meanwhile. A patrol finds those whose monitor was
 * killed and will never write; they count as killed.
 */
export class ExitWatch {
  readonly #watched = new Set<Watched>()
  readonly #patrol: NodeJS.Timeout

  constructor() {
    this.#patrol = setInterval(() => this.#look(), PATROL_MS)
    this.#patrol.unref()
  }

  /** The exit code (128 + signal for a death by one). Stays open for ever when the watch is closed before. */
  wait(names: InstanceNames, process: ProcessIdentity): Promise<number> {
    const { promise, resolve } = Promise.withResolvers<number>()
    const entry: Watched = { names, process, watcher: undefined, resolve, goneSinceMs: undefined }
    this.#watched.add(entry)
    this.#listen(entry)
    this.#check(entry)
    return promise
  }

  close(): void {
    clearInterval(this.#patrol)
    for (const { watcher } of this.#watched) watcher?.close()
    this.#watched.clear()
  }

  /** Where nothing can be watched (no watch left, no directory), the patrol remains. */
  #listen(entry: Watched): void {
    try {
      entry.watcher = watch(entry.names.exitDirectory, { persistent: false }, () => this.#check(entry))
      entry.watcher.on('error', () => undefined)
    } catch {
      entry.watcher = undefined
    }
  }

  #check(entry: Watched): void {
    if (!this.#watched.has(entry)) return
    const code = readExitCode(entry.names)
    if (code !== undefined) this.#settle(entry, code)
  }

  #settle(entry: Watched, code: number): void {
    entry.watcher?.close()
    this.#watched.delete(entry)
    entry.resolve(code)
  }

  #look(): void {
    const nowMs = performance.now()
    for (const entry of this.#watched) {
      this.#check(entry)
      if (!this.#watched.has(entry) || isAlive(entry.process)) continue
      entry.goneSinceMs ??= nowMs
      if (nowMs - entry.goneSinceMs > MONITOR_GRACE_MS) this.#settle(entry, KILLED)
    }
  }
}

/** Undefined while conmon has not written it. */
export function readExitCode(names: InstanceNames): number | undefined {
  try {
    const text = readFileSync(names.exitFile, 'latin1').trim()
    return /^\d+$/.test(text) ? Number(text) : undefined
  } catch (thrown) {
    if (errnoOf(thrown) === 'ENOENT') return undefined
    throw thrown
  }
}
