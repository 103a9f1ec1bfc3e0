import { AppError, type Logger, messageOf } from '../../common/index.ts'
import type { InstanceCalls } from './attribute.ts'
import type { CallSpans, FunctionName } from './calls.ts'
import { DEFAULT_TAIL_LIMITS, InstanceTail, type TailLimits } from './instance-tail.ts'
import type { LogStore } from './log-store.ts'
import type { OutputSource } from './source.ts'

/**
 * An instance is looked at this often while it prints, and ever less often when it does not print: down to ten
 * times a second while it serves a call, twice a second otherwise.
 */
const BUSY_MS = 25
const SERVING_MS = 100
const IDLE_MS = 500
/** A failure (disk full, no supervisor) is tried again after this. */
const RETRY_MS = 1000
const CHUNK_BYTES = 64 * 1024
/** Memory for unfinished lines of all instances together; beyond it they are stored in pieces. */
const HELD_BYTES = 16 * 1024 * 1024
/** Waiting for a flush ends here: the lines come later, but nothing waits for ever. */
const FLUSH_TIMEOUT_MS = 2000

export interface CollectorOptions {
  store: LogStore
  calls: CallSpans
  logger: Logger
  limits?: Partial<TailLimits>
}

export interface FlushOptions {
  /** Answers once nothing has come for this long, since what the function has just written may be on its way here. Default 0 ms. */
  settleMs?: number
  /** Default 2,000 ms. */
  timeoutMs?: number
}

interface Waiter {
  /** A look that begins at or after this time and finds nothing more answers, if nothing came in the `settleMs` before it. */
  fromMs: number
  settleMs: number
  resolve: (isComplete: boolean) => void
}

interface Member {
  instance: string
  owner: FunctionName
  tail: InstanceTail
  calls: InstanceCalls
  intervalMs: number
  dueMs: number
  isEnded: boolean
  hasFailed: boolean
  /** When something was copied last. */
  copiedMs: number
  held: number
  waiters: Set<Waiter>
  /** The turn under way. */
  turn: Promise<void> | undefined
  /** No turn begins any more. */
  isLeaving: boolean
}

/**
 * Copies what all instances print into their functions' logs. One chunk of one instance at a time, in turn, so that memory is one chunk and
 * a flood in one instance delays its neighbours by milliseconds. Everything is polled: the server has descriptors of the files, no paths to watch.
 */
export class OutputCollector {
  readonly #options: CollectorOptions
  readonly #limits: TailLimits
  readonly #members = new Map<string, Member>()
  readonly #attaching = new Map<string, Promise<void>>()
  /** Instances of which everything was copied, until their files are gone. */
  readonly #finished = new Set<string>()
  readonly #chunk = Buffer.allocUnsafeSlow(CHUNK_BYTES)
  readonly #stopListening: () => void
  #timer: NodeJS.Timeout | undefined
  #timerMs = Number.POSITIVE_INFINITY
  #round: Promise<void> | undefined
  #held = 0
  #isClosed = false

  constructor(options: CollectorOptions) {
    this.#options = options
    this.#limits = { ...DEFAULT_TAIL_LIMITS, ...options.limits }
    this.#stopListening = options.calls.listen(({ instance }) => this.nudge(instance))
  }

  /** Begins to copy, or goes on where an earlier process stopped. Call spans of the instance are kept from here on. */
  attach(instance: string, owner: FunctionName, source: OutputSource): Promise<void> {
    if (this.#members.has(instance)) return Promise.resolve()
    const known = this.#attaching.get(instance)
    if (known !== undefined) return known
    const calls = this.#options.calls.attach(instance, owner)
    const attaching = this.#attach(instance, owner, source, calls).finally(() => this.#attaching.delete(instance))
    this.#attaching.set(instance, attaching)
    return attaching
  }

  async #attach(instance: string, owner: FunctionName, source: OutputSource, calls: InstanceCalls): Promise<void> {
    const log = await this.#options.store.acquire(owner)
    if (this.#isClosed) return this.#options.store.release(owner)
    const onAnswer = (failure: unknown): void => this.#answered(instance, failure)
    const tail = new InstanceTail({ instance, source, log, calls, limits: this.#limits, onAnswer })
    const times = { intervalMs: BUSY_MS, dueMs: 0, copiedMs: 0, held: 0 }
    const flags = { isEnded: false, hasFailed: false, isLeaving: false }
    this.#members.set(instance, {
      instance,
      owner,
      tail,
      calls,
      waiters: new Set(),
      turn: undefined,
      ...times,
      ...flags,
    })
    this.#wake(0)
  }

  /** The instance serves a call, or has just done so: look often. Cheap. */
  nudge(instance: string): void {
    const member = this.#members.get(instance)
    if (member === undefined || member.intervalMs === BUSY_MS) return
    member.intervalMs = BUSY_MS
    this.#schedule(member, BUSY_MS)
  }

  /**
   * Settles when everything that conmon had written at the time of the call is stored. False when that took too long or the instance is not
   * known (any more).
   */
  async flush(instance: string, options: FlushOptions = {}): Promise<boolean> {
    await this.#attaching.get(instance)?.catch(() => undefined)
    const member = this.#members.get(instance)
    if (member === undefined) return false
    const { settleMs = 0, timeoutMs = FLUSH_TIMEOUT_MS } = options
    return new Promise((resolve) => {
      const waiter: Waiter = {
        fromMs: performance.now() + settleMs,
        settleMs,
        resolve: (isComplete) => {
          clearTimeout(timer)
          member.waiters.delete(waiter)
          resolve(isComplete)
        },
      }
      const timer = setTimeout(() => waiter.resolve(false), timeoutMs + settleMs)
      member.waiters.add(waiter)
      this.#schedule(member, 0)
    })
  }

  /**
   * The instance has ended: copies the rest, and a last line without newline as it is. After that its output files may be removed; then call
   * `forget`. Throws `output-incomplete` when the rest cannot be had within `timeoutMs` (default 30 s); it may be called again.
   */
  async finish(instance: string, timeoutMs = 30_000): Promise<void> {
    await this.#attaching.get(instance)
    const member = this.#members.get(instance)
    if (member === undefined) {
      if (this.#finished.has(instance)) return
      throw incomplete(instance, 'it is not being copied')
    }
    member.isEnded = true
    member.tail.markEnded()
    const isComplete = await this.flush(instance, { timeoutMs })
    if (!isComplete && this.#finished.has(instance)) return
    if (!isComplete) throw incomplete(instance, `it was not at its end after ${timeoutMs} ms`)
    member.isLeaving = true
    try {
      await member.turn
      await member.tail.finish()
    } catch (thrown) {
      member.isLeaving = false
      this.#schedule(member, RETRY_MS)
      throw thrown
    }
    this.#finished.add(instance)
    await this.#detach(member)
  }

  /** The output files of an instance are gone (or given up): its place need not be remembered. Stops copying it if need be. */
  async forget(instance: string, owner: FunctionName): Promise<void> {
    await this.#attaching.get(instance)?.catch(() => undefined)
    const member = this.#members.get(instance)
    if (member !== undefined) await this.#detach(member)
    this.#finished.delete(instance)
    await this.#options.store.use(owner, async (log) => log.release(instance))
  }

  /** Text without a newline so far that a call has printed. */
  unfinishedOf(instance: string, requestId: string): Buffer[] {
    return this.#members.get(instance)?.tail.unfinishedOf(requestId) ?? []
  }

  /** Stops copying; everything is remembered. */
  async close(): Promise<void> {
    this.#isClosed = true
    this.#stopListening()
    clearTimeout(this.#timer)
    await Promise.allSettled(this.#attaching.values())
    await this.#round
    for (const member of this.#members.values()) await this.#detach(member)
  }

  async #detach(member: Member): Promise<void> {
    if (this.#members.get(member.instance) !== member) return
    this.#members.delete(member.instance)
    member.isLeaving = true
    await member.turn
    member.tail.close()
    this.#held -= member.held
    for (const waiter of member.waiters) waiter.resolve(false)
    this.#options.calls.detach(member.instance)
    this.#options.store.release(member.owner)
  }

  #answered(instance: string, failure: unknown): void {
    const member = this.#members.get(instance)
    if (member === undefined) return
    if (failure === undefined) this.#schedule(member, 0)
    else this.#fail(member, failure)
  }

  #fail(member: Member, failure: unknown): void {
    if (!member.hasFailed) {
      const { instance, owner } = member
      this.#options.logger.warn({ instance, ...owner, reason: messageOf(failure) }, 'output of an instance waits')
    }
    member.hasFailed = true
    this.#schedule(member, member.isEnded || member.waiters.size > 0 ? BUSY_MS : RETRY_MS)
  }

  #schedule(member: Member, inMs: number): void {
    member.dueMs = performance.now() + inMs
    this.#wake(inMs)
  }

  /** Sees to it that a round begins in time; one under way looks again by itself. */
  #wake(inMs: number): void {
    if (this.#isClosed || this.#round !== undefined) return
    const now = performance.now()
    if (now + inMs >= this.#timerMs) return
    clearTimeout(this.#timer)
    this.#timerMs = now + inMs
    this.#timer = setTimeout(() => this.#startRound(), inMs)
  }

  #startRound(): void {
    this.#timerMs = Number.POSITIVE_INFINITY
    this.#round = this.#runRound().finally(() => {
      this.#round = undefined
      if (this.#members.size === 0) return
      const nextMs = Math.min(...[...this.#members.values()].map(({ dueMs }) => dueMs))
      if (Number.isFinite(nextMs)) this.#wake(Math.max(0, nextMs - performance.now()))
    })
  }

  /** Turns, one instance after the other, until nothing is due. */
  async #runRound(): Promise<void> {
    for (;;) {
      const now = performance.now()
      const due = [...this.#members.values()].filter(({ dueMs, isLeaving }) => dueMs <= now + 1 && !isLeaving)
      if (due.length === 0 || this.#isClosed) return
      for (const member of due) {
        if (this.#isClosed || member.isLeaving) continue
        member.turn = this.#turn(member)
        await member.turn
        member.turn = undefined
      }
    }
  }

  async #turn(member: Member): Promise<void> {
    const beganMs = performance.now()
    member.dueMs = Number.POSITIVE_INFINITY // until the result, or the answer that the tail waits for, says otherwise
    try {
      const result = await member.tail.turn(this.#chunk)
      await this.#limitHeld(member)
      if (result === 'asking') return
      member.hasFailed = false
      if (result === 'drained') return this.#drained(member, beganMs)
      member.intervalMs = BUSY_MS
      member.copiedMs = performance.now()
      member.dueMs = 0
    } catch (failure) {
      this.#fail(member, failure)
    }
  }

  #drained(member: Member, beganMs: number): void {
    const answersMs = ({ fromMs, settleMs }: Waiter): number => Math.max(fromMs, member.copiedMs + settleMs)
    for (const waiter of member.waiters) if (answersMs(waiter) <= beganMs) waiter.resolve(true)
    // on a common grid, so that a hundred idle instances wake the process twice a second, not two hundred times
    const grid = member.intervalMs === IDLE_MS ? IDLE_MS : BUSY_MS
    member.dueMs = (Math.floor((beganMs + member.intervalMs - grid) / grid) + 1) * grid
    member.intervalMs = Math.min(member.calls.isServing ? SERVING_MS : IDLE_MS, member.intervalMs * 2)
    for (const waiter of member.waiters) member.dueMs = Math.min(member.dueMs, answersMs(waiter))
  }

  async #limitHeld(member: Member): Promise<void> {
    const held = member.tail.heldBytes()
    this.#held += held - member.held
    member.held = held
    if (this.#held <= HELD_BYTES) return
    await member.tail.releaseHeld()
    this.#held += member.tail.heldBytes() - member.held
    member.held = member.tail.heldBytes()
  }
}

function incomplete(instance: string, why: string): AppError {
  const message = `output of instance ${instance} could not be copied to its end: ${why}`
  return new AppError(message, { code: 'output-incomplete', retryable: true })
}
