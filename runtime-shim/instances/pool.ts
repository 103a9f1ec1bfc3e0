import { closeSync } from 'node:fs'
import type { ColdStart, Version } from '../../api/index.ts'
import { AppError, type Logger, messageOf } from '../../common/index.ts'
import { decide } from '../scaling/index.ts'
import { connectionPool, socketOf } from './connections.ts'
import { Instance } from './instance.ts'
import { STOP_GRACE_MS } from './limits.ts'
import { createInstance, type Phases, type StartContext, startInstance } from './start.ts'

/** Memory that one namespace's instances of a version may take in all (scf-contract 4.1), until quotas are settings. */
const QUOTA_MB = 128_000
const MAX_WAITING = 1_000
const CREATE_AHEAD_MS = 90_000
/** A start and the call that waited for it have the processors to themselves: what it took from `prewarm` is made good after it. */
const CREATE_AFTER_START_MS = 200
const CREATE_AFTER_FAILURE_MS = 10_000
const STOP_AGAIN_MS = 10_000

export interface PoolOptions extends StartContext {
  logger: Logger
  /** Told of each instance that exists from now on, so that its output is collected. */
  onInstance: (instance: Instance, version: Version) => void
}

/** The right of one call to one instance. */
export interface Slot {
  instance: Instance
  coldStart: ColdStart | null
}

interface Waiter {
  since: number
  resolve: (slot: Slot) => void
  reject: (reason: unknown) => void
}

/** The instances of one revision of one version: hands out slots, starts what is missing, ends what is idle. */
export class VersionPool {
  readonly version: Version
  readonly #options: PoolOptions
  readonly #instances = new Map<string, Instance>()
  readonly #waiters: Waiter[] = []
  #starting = 0
  #creating = 0
  #retired = false
  #creationPause: NodeJS.Timeout | undefined

  constructor(version: Version, options: PoolOptions) {
    this.version = version
    this.#options = options
  }

  get instances(): Instance[] {
    return [...this.#instances.values()]
  }

  get empty(): boolean {
    return this.#instances.size === 0 && this.#starting === 0 && this.#creating === 0 && this.#waiters.length === 0
  }

  /** A slot of a warm instance that nobody waits for, if there is one. */
  takeFree(): Slot | undefined {
    const warm = this.#waiters.length === 0 ? this.#free() : undefined
    return warm === undefined ? undefined : this.#take(warm, null)
  }

  /** A slot after a wait or a start, where `takeFree` gave none. Rejects with the start's error, `queue-full`, or the signal's reason. */
  acquire(signal: AbortSignal): Promise<Slot> {
    if (this.#waiters.length >= MAX_WAITING) {
      return Promise.reject(
        new AppError(`more than ${MAX_WAITING} calls wait for ${this.version.function}`, {
          code: 'queue-full',
          fault: 'user',
          retryable: true,
          hint: 'raise maxInstances or concurrency, or call more slowly',
        }),
      )
    }
    return this.#wait(signal)
  }

  /** Gives the slot back. `recycle` says why the instance must not be used again; others' calls in it end first. */
  release(instance: Instance, recycle?: string): void {
    instance.inFlight -= 1
    instance.calls += 1
    instance.idleSinceMs = Date.now()
    if (recycle !== undefined && instance.inFlight > 0) this.drain(instance, recycle)
    else if (recycle !== undefined) this.#end(instance, 0, recycle)
    else if (instance.state === 'draining' && instance.inFlight === 0) this.#stop(instance, STOP_GRACE_MS, 'drained')
    this.pump()
  }

  /** Puts in an instance that an earlier server had; one with somebody's call in it only drains. */
  adopt(instance: Instance): void {
    this.#instances.set(instance.id, instance)
    if (instance.state === 'ready') instance.connections = this.#connections(instance.id, undefined)
    this.#options.onInstance(instance, this.version)
    this.pump()
  }

  /** A newer revision takes the calls to come: those that wait here are served, then idle instances end, busy ones after their calls. */
  retire(): void {
    this.#retired = true
    this.pump()
  }

  /** The function is gone: who waits is refused, and the rest is as for `retire`. */
  close(): void {
    for (const waiter of this.#waiters.splice(0))
      waiter.reject(new AppError('the function was deleted', { code: 'version-gone', retryable: true }))
    this.retire()
  }

  drain(instance: Instance, reason: string): void {
    if (instance.state === 'ended' || instance.state === 'draining' || instance.state === 'starting') return
    if (instance.inFlight > 0) instance.move('draining')
    else this.#end(instance, STOP_GRACE_MS, reason)
  }

  /** Ends instances that had no call for `keepAlive`. */
  endIdle(nowMs: number): void {
    const keepAliveMs = this.version.settings.keepAlive * 1_000
    for (const instance of this.instances) {
      const idle = instance.state === 'ready' && instance.inFlight === 0 && nowMs - instance.idleSinceMs >= keepAliveMs
      if (idle) this.drain(instance, `idle for ${this.version.settings.keepAlive} s`)
    }
  }

  exited(id: string, exit: { code: number; signal: string | null; oom: boolean }): void {
    const instance = this.#instances.get(id)
    if (instance === undefined) return
    this.#instances.delete(id)
    instance.ended(exit)
    this.pump()
  }

  /** Gives free slots to those who wait and starts or creates what the decision says. */
  pump(): void {
    for (let free = this.#free(); free !== undefined && this.#waiters.length > 0; free = this.#free()) {
      const waiter = this.#waiters.shift()
      waiter?.resolve(this.#take(free, null))
    }
    if (this.#retired && this.#waiters.length === 0) {
      for (const instance of this.instances) this.drain(instance, 'version is served no more')
      return
    }
    const { settings } = this.version
    const count: Record<Instance['state'], number> = { created: 0, starting: 0, ready: 0, draining: 0, ended: 0 }
    for (const { state } of this.#instances.values()) count[state] += 1
    const quota = Math.max(1, Math.floor(QUOTA_MB / settings.memory))
    const decision = decide(
      {
        waiting: this.#waiters.length,
        starting: this.#starting,
        created: count.created,
        creating: this.#creating,
        ready: count.ready + count.draining,
      },
      {
        concurrency: settings.concurrency,
        maxInstances: Math.min(settings.maxInstances ?? quota, quota),
        prewarm: this.#retired ? 0 : settings.prewarm,
      },
    )
    for (let n = 0; n < decision.start; n += 1) void this.#startOne()
    if (this.#starting > 0 || this.#creationPause !== undefined) return
    for (let n = 0; n < decision.create; n += 1) void this.#createOne()
  }

  #wait(signal: AbortSignal): Promise<Slot> {
    const { promise, resolve, reject } = Promise.withResolvers<Slot>()
    const waiter: Waiter = { since: performance.now(), resolve, reject }
    const onAbort = (): void => {
      const at = this.#waiters.indexOf(waiter)
      if (at === -1) return
      this.#waiters.splice(at, 1)
      reject(signal.reason)
    }
    signal.addEventListener('abort', onAbort, { once: true })
    this.#waiters.push(waiter)
    this.pump()
    return promise.finally(() => signal.removeEventListener('abort', onAbort))
  }

  #free(): Instance | undefined {
    const { concurrency } = this.version.settings
    let best: Instance | undefined
    for (const instance of this.#instances.values()) {
      if (instance.state !== 'ready' || instance.inFlight >= concurrency) continue
      if (best === undefined || instance.idleSinceMs > best.idleSinceMs) best = instance
    }
    return best
  }

  #take(instance: Instance, coldStart: ColdStart | null): Slot {
    instance.inFlight += 1
    return { instance, coldStart }
  }

  async #startOne(): Promise<void> {
    this.#starting += 1
    const began = performance.now()
    const deadlineMs = Date.now() + this.version.settings.initTimeout * 1_000
    const phases: Phases = {}
    let instance = this.instances.find(({ state }) => state === 'created')
    try {
      if (instance === undefined) {
        const id = await createInstance(this.#options, this.version, 'call', deadlineMs, phases)
        instance = this.#add(id, 'call')
      }
      instance.move('starting')
      const descriptor = await startInstance(this.#options, instance.id, deadlineMs, phases)
      if (instance.state !== 'starting') {
        closeSync(descriptor)
        throw endedAtOnce(instance)
      }
      instance.connections = this.#connections(instance.id, descriptor)
      instance.move('ready')
      instance.idleSinceMs = Date.now()
      this.#starting -= 1
      this.#serveWaiters(instance, phases, began)
    } catch (thrown) {
      this.#starting -= 1
      if (instance !== undefined && instance.state !== 'ended')
        this.#end(instance, 0, `start failed: ${messageOf(thrown)}`)
      this.#startFailed(thrown)
    }
    this.#pauseCreation(CREATE_AFTER_START_MS)
    this.pump()
  }

  /** Those who waited for this start know its phases; later ones find a warm instance. */
  #serveWaiters(instance: Instance, phases: Phases, began: number): void {
    while (instance.inFlight < this.version.settings.concurrency && this.#waiters.length > 0) {
      const waiter = this.#waiters.shift()
      if (waiter === undefined) return
      const queue = Math.max(0, began - waiter.since)
      const coldStart = { totalMs: performance.now() - waiter.since, phases: { queue, ...phases } }
      waiter.resolve(this.#take(instance, coldStart))
    }
  }

  /** The error goes to all who would have used that instance; with no other instance that will serve them, to all who wait. */
  #startFailed(thrown: unknown): void {
    const others = this.#starting > 0 || this.instances.some(({ state }) => state === 'ready')
    const share = others ? this.version.settings.concurrency : this.#waiters.length
    for (const waiter of this.#waiters.splice(0, share)) waiter.reject(thrown)
  }

  async #createOne(): Promise<void> {
    this.#creating += 1
    try {
      const id = await createInstance(this.#options, this.version, 'prewarm', Date.now() + CREATE_AHEAD_MS, {})
      this.#add(id, 'prewarm')
    } catch (thrown) {
      this.#options.logger.warn({ function: this.version.function, err: messageOf(thrown) }, 'prewarm failed')
      this.#pauseCreation(CREATE_AFTER_FAILURE_MS)
    } finally {
      this.#creating -= 1
    }
    this.pump()
  }

  #pauseCreation(ms: number): void {
    this.#creationPause ??= setTimeout(() => {
      this.#creationPause = undefined
      this.pump()
    }, ms).unref()
  }

  /** A reconciliation may have seen the instance before the answer that names it was read: then it is in the pool already. */
  #add(id: string, reason: string): Instance {
    const known = this.#instances.get(id)
    if (known !== undefined) return known
    const instance = new Instance(id, 'created', reason, Date.now())
    this.#instances.set(id, instance)
    this.#options.onInstance(instance, this.version)
    return instance
  }

  #connections(id: string, descriptor: number | undefined) {
    const first = descriptor === undefined ? undefined : socketOf(descriptor)
    return connectionPool(this.#options.host, id, first, this.version.settings.concurrency)
  }

  #end(instance: Instance, graceMs: number, reason: string): void {
    if (instance.state !== 'draining' && instance.state !== 'ended') instance.move('draining')
    if (instance.inFlight > 0 && graceMs > 0) return
    this.#stop(instance, graceMs, reason)
  }

  #stop(instance: Instance, graceMs: number, reason: string): void {
    this.#options.host
      .call('stop', { id: instance.id, graceMs, reason: reason.slice(0, 200) })
      .catch((thrown: unknown) => {
        this.#options.logger.error({ instance: instance.id, err: messageOf(thrown) }, 'stop failed')
        // Nobody else would: until it has ended it counts against maxInstances.
        setTimeout(() => {
          if (instance.state !== 'ended') this.#stop(instance, graceMs, reason)
        }, STOP_AGAIN_MS).unref()
      })
  }
}

function endedAtOnce({ id, exit }: Instance): AppError {
  const how = exit?.oom === true ? 'was killed for memory' : 'ended'
  return new AppError(`the process of instance ${id} ${how} as soon as it listened`, {
    code: 'instance-exited',
    fault: 'user',
    details: { exit },
  })
}
