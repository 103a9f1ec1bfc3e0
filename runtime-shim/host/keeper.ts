import { type ChildProcess } from 'node:child_process'
import { identify, isAlive, type Logger, type ProcessIdentity } from '../../common/index.ts'

export interface KeeperOptions {
  role: string
  logger: Logger
  /** Starts a new process. What it throws is logged, and it is called again as after the death of a process. */
  spawn: () => ChildProcess
  /** Told with each new or adopted process. */
  onStarted: (process: ProcessIdentity) => void
  /** Told when a process has ended soon after its start, `times` in a row; the next is started all the same. */
  onFailed?: (times: number) => void
}

const POLL_MS = 100
const MAX_PAUSE_MS = 2_000
/** A process that lived this long was healthy: the next start waits for nothing. */
const HEALTHY_MS = 5_000

/** Keeps one process alive: starts it, or takes over one that an earlier supervisor started, and starts the next when it dies. */
export class Keeper {
  readonly #options: KeeperOptions
  #current: ProcessIdentity | undefined
  #startedAtMs = 0
  #failures = 0
  #closed = false
  #timer: NodeJS.Timeout | undefined

  constructor(options: KeeperOptions) {
    this.#options = options
  }

  get current(): ProcessIdentity | undefined {
    return this.#current
  }

  start(): void {
    if (this.#closed) return
    this.#startedAtMs = Date.now()
    let child: ChildProcess
    try {
      child = this.#options.spawn()
    } catch (thrown) {
      this.#gone(undefined, { err: thrown })
      return
    }
    const identity = child.pid === undefined ? undefined : identify(child.pid)
    child.once('error', (err) => {
      // Without a pid there never was a process, and no `exit` will tell of its end.
      if (child.pid === undefined) this.#gone(undefined, { err })
    })
    child.once('exit', (code, signal) => this.#gone(identity, { code, signal }))
    if (identity === undefined) return
    child.unref()
    this.#current = identity
    this.#options.onStarted(identity)
  }

  /** Takes over a living process that is not our child: its end is seen by polling. */
  adopt(process: ProcessIdentity): void {
    this.#startedAtMs = Date.now()
    this.#current = process
    this.#options.onStarted(process)
    const poll = (): void => {
      if (this.#closed || this.#current?.pid !== process.pid) return
      if (isAlive(process)) this.#timer = setTimeout(poll, POLL_MS)
      else this.#gone(process, {})
    }
    poll()
  }

  /** Kills the current process; the next is started as for any death. */
  kill(reason: string): void {
    if (this.#current === undefined) return
    this.#options.logger.warn({ role: this.#options.role, ...this.#current, reason }, 'process killed')
    signalProcess(this.#current, 'SIGKILL')
  }

  /** Keeps the current process no longer: it goes on, its end is the caller's to see to. `start` begins the next. */
  release(): ProcessIdentity | undefined {
    clearTimeout(this.#timer)
    return this.#ended().current
  }

  /** Stops keeping; ends the process with SIGTERM, after `graceMs` with SIGKILL. */
  async close(graceMs: number): Promise<void> {
    this.#closed = true
    clearTimeout(this.#timer)
    const { current } = this.#ended()
    if (current !== undefined) await endProcess(current, graceMs)
  }

  #ended(): { current: ProcessIdentity | undefined } {
    const current = this.#current
    this.#current = undefined
    return { current }
  }

  #gone(process: ProcessIdentity | undefined, how: object): void {
    if (this.#closed || (process !== undefined && this.#current?.pid !== process.pid)) return
    this.#current = undefined
    this.#failures = Date.now() - this.#startedAtMs > HEALTHY_MS ? 0 : this.#failures + 1
    const pauseMs = this.#failures <= 1 ? 0 : Math.min(MAX_PAUSE_MS, 50 * 2 ** this.#failures)
    this.#options.logger.warn(
      { role: this.#options.role, ...process, ...how, pauseMs },
      'process ended, starting the next',
    )
    this.#timer = setTimeout(() => this.start(), pauseMs)
    if (this.#failures > 0) this.#options.onFailed?.(this.#failures)
  }
}

export function signalProcess(target: ProcessIdentity, signal: NodeJS.Signals): void {
  if (isAlive(target)) {
    try {
      process.kill(target.pid, signal)
    } catch {
      // It ended between the look and the signal.
    }
  }
}

/** However much progress it makes, nobody waits longer. */
const PATIENCE_MS = 10 * 60_000

/**
 * SIGTERM, then SIGKILL after `graceMs` in which what `progress` counts has not changed; resolves when the process is gone (at most a second
 * later).
 */
export async function endProcess(
  target: ProcessIdentity,
  graceMs: number,
  progress: () => number = () => 0,
): Promise<void> {
  signalProcess(target, 'SIGTERM')
  const began = performance.now()
  let movedMs = began
  let count = progress()
  let killedMs: number | undefined
  while (isAlive(target)) {
    const nowMs = performance.now()
    if (killedMs !== undefined && nowMs - killedMs > 1_000) return
    const now = progress()
    if (now !== count) [count, movedMs] = [now, nowMs]
    if (killedMs === undefined && (nowMs - movedMs >= graceMs || nowMs - began > PATIENCE_MS)) {
      signalProcess(target, 'SIGKILL')
      killedMs = nowMs
    }
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
}
