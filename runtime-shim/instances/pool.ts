import { closeSync } from 'node:fs'
import type { ColdStart, Version } from '../../api/index.ts'
import { AppError, type Logger, messageOf } from '../../common/index.ts'
import { decide } from '../scaling/index.ts'
import { type ExitInfo, Instance } from './instance.ts'
import { KeptConnections } from './kept-connections.ts'
import { quotaOf, STOP_GRACE_MS } from './limits.ts'
import { Provision, type Provisioned } from './provision.ts'
import { createInstance, type StartContext, startInstance } from './start.ts'
import { coldStartOf, failedStart, type StartTrace } from './trace.ts'
import { type Prepare, WaitingCalls } from './waiting-calls.ts'

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
  /** Instances of other revisions of the function that have not ended: the cap is the function's. */
  instancesElsewhere: (version: Version) => number
}

/** The right of one call to one instance. */
export interface Slot {
  instance: Instance
  coldStart: ColdStart | null
  /** How long it waited for an instance to become free; absent where one was, or was started. */
  queueMs?: number
}

/** The instances of one revision of one version: hands out slots, starts what is missing, ends what is idle. */
export class VersionPool {
  readonly version: Version
  readonly #options: PoolOptions
  readonly #instances = new Map<string, Instance>()
  readonly #waiters = new WaitingCalls<Slot>(() => this.pump())
  #starting = 0
  #creating = 0
  #retired = false
  #creationPause: NodeJS.Timeout | undefined
  readonly #provision: Provision

  constructor(version: Version, options: PoolOptions) {
    this.version = version
    this.#options = options
    this.#provision = new Provision(version.settings.provisioned, () => this.pump())
  }

  get instances(): Instance[] {
    return [...this.#instances.values()]
  }

  /** Instances whose process runs or is being started. */
  get running(): number {
    return this.instances.filter(({ state }) => state !== 'created').length
  }

  get empty(): boolean {
    return this.#instances.size === 0 && this.#starting === 0 && this.#creating === 0 && this.#waiters.length === 0
  }

  /** A slot of a warm instance that nobody waits for, if there is one. */
  takeFree(): Slot | undefined {
    const warm = this.#waiters.length === 0 ? this.#free() : undefined
    return warm === undefined ? undefined : this.#take(warm, null)
  }

  /**
   * A slot after a wait or a start, where `takeFree` gave none, and after `prepare`, which is begun when the call is among the next.
   * Rejects with the start's error, what `prepare` rejects with, `queue-full`, or the signal's reason.
   */
  acquire(signal: AbortSignal, prepare?: Prepare): Promise<Slot> {
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
    const slot = this.#waiters.wait(signal, prepare)
    this.pump()
    return slot
  }

  /** Gives the slot back. `recycle` says why the instance must not be used again; others' calls in it end first. */
  release(instance: Instance, recycle?: string): void {
    instance.inFlight -= 1
    instance.calls += 1
    instance.idleSinceMs = Date.now()
    if (recycle !== undefined && instance.inFlight > 0) this.drain(instance, recycle)
    else if (recycle !== undefined) this.#end(instance, 0, recycle)
    else if (instance.state === 'draining' && instance.inFlight === 0) this.#stop(instance, STOP_GRACE_MS, 'drained')
    // A free slot alone changes no decision when nobody waits for it.
    if (this.#waiters.length > 0 || this.#retired || instance.state !== 'ready') this.pump()
  }

  /** Puts in an instance that an earlier server had. `pump` once all are in: one that is not in yet would be replaced. */
  adopt(instance: Instance): void {
    this.#instances.set(instance.id, instance)
    if (instance.state === 'ready') this.#connect(instance, undefined)
    this.#options.onInstance(instance, this.version)
  }

  /** A newer revision takes the calls to come: those that wait here are served, then idle instances end, busy ones after their calls. */
  retire(): void {
    this.#retired = true
    this.pump()
  }

  /** The function is gone: who waits is refused, and the rest is as for `retire`. */
  close(): void {
    for (const waiter of this.#waiters.take(this.#waiters.length))
      waiter.reject(new AppError('the function was deleted', { code: 'version-gone', retryable: true }))
    this.retire()
  }

  drain(instance: Instance, reason: string): void {
    if (instance.state === 'ended' || instance.state === 'draining' || instance.state === 'starting') return
    if (instance.inFlight > 0) instance.move('draining')
    else this.#end(instance, STOP_GRACE_MS, reason)
  }

  /** Asked for by name: also one that is still being started, whose callers are told. */
  stop(instance: Instance, reason: string): void {
    if (instance.state === 'starting') this.#end(instance, 0, reason)
    else this.drain(instance, reason)
  }

  /** Ends instances that had no call for `keepAlive`, but for as many as are provisioned. */
  endIdle(nowMs: number): void {
    const { keepAlive, provisioned } = this.version.settings
    const ready = this.instances.filter(({ state }) => state === 'ready')
    for (const instance of ready) this.#provision.lives(instance.readyAtMs)
    const idle = ready.filter(({ inFlight, idleSinceMs }) => inFlight === 0 && nowMs - idleSinceMs >= keepAlive * 1_000)
    const spare = this.#retired ? ready.length : Math.max(0, ready.length - provisioned)
    for (const instance of idle.slice(0, spare)) this.drain(instance, `idle for ${keepAlive} s`)
  }

  exited(id: string, exit: ExitInfo): void {
    const instance = this.#instances.get(id)
    if (instance === undefined) return
    this.#instances.delete(id)
    if (instance.state === 'ready') this.#provision.ended(exit, instance.readyAtMs)
    instance.ended(exit)
    this.pump()
  }

  /** Gives free slots to those who wait and starts or creates what the decision says. */
  pump(): void {
    for (let free = this.#free(); free !== undefined; free = this.#free()) {
      const waiter = this.#waiters.next()
      if (waiter === undefined) break
      waiter.resolve({ ...this.#take(free, null), queueMs: performance.now() - waiter.since })
    }
    if (this.#retired && this.#waiters.length === 0) {
      for (const instance of this.instances) this.drain(instance, 'version is served no more')
      return
    }
    const { settings } = this.version
    const count: Record<Instance['state'], number> = { created: 0, starting: 0, ready: 0, draining: 0, ended: 0 }
    for (const { state } of this.#instances.values()) count[state] += 1
    const decision = decide(
      {
        // Those whose bodies are still read may find a slot free.
        waiting: Math.max(0, this.#waiters.wanting - this.#freeSlots()),
        starting: this.#starting,
        created: count.created,
        creating: this.#creating,
        ready: count.ready,
        leaving: count.draining + this.#options.instancesElsewhere(this.version),
      },
      {
        concurrency: settings.concurrency,
        maxInstances: quotaOf(settings),
        prewarm: this.#retired ? 0 : settings.prewarm,
        provisioned: this.#retired ? 0 : this.#provision.wantedNow(),
      },
    )
    for (let n = 0; n < decision.start; n += 1) void this.#startOne('call')
    for (let n = 0; n < decision.provision; n += 1) void this.#startOne('provisioned')
    if (this.#starting > 0 || this.#creationPause !== undefined) return
    for (let n = 0; n < decision.create; n += 1) void this.#createOne()
  }

  /** How many instances listen of those that are to, whatever the load, and why not more. */
  provisioned(): Provisioned {
    return this.#provision.state(this.instances.filter(({ state }) => state === 'ready').length)
  }

  #freeSlots(): number {
    if (this.#waiters.length === 0) return 0
    const { concurrency } = this.version.settings
    const ready = this.instances.filter(({ state }) => state === 'ready')
    return ready.reduce((sum, { inFlight }) => sum + Math.max(0, concurrency - inFlight), 0)
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

  async #startOne(reason: 'call' | 'provisioned'): Promise<void> {
    this.#starting += 1
    const began = performance.now()
    const deadlineMs = Date.now() + this.version.settings.initTimeout * 1_000
    const trace: StartTrace = { phases: {} }
    let instance = this.instances.find(({ state }) => state === 'created')
    try {
      this.#options.starts.require(this.version)
      // A created instance was allowed when it was made, which may be long ago.
      if (instance !== undefined) this.#options.downloads.check(this.version)
      if (instance === undefined) {
        const id = await createInstance(this.#options, this.version, { reason }, deadlineMs, trace)
        instance = this.#add(id, reason)
      }
      instance.move('starting')
      const descriptor = await startInstance(this.#options, instance.id, deadlineMs, trace)
      if (instance.state !== 'starting') {
        closeSync(descriptor)
        throw endedAtOnce(instance)
      }
      this.#connect(instance, descriptor)
      instance.move('ready')
      instance.idleSinceMs = Date.now()
      this.#starting -= 1
      this.#serveWaiters(instance, trace, began)
    } catch (thrown) {
      this.#starting -= 1
      if (instance !== undefined && instance.state !== 'ended')
        this.#end(instance, 0, `start failed: ${messageOf(thrown)}`)
      this.#provision.failed(messageOf(thrown))
      this.#startFailed(thrown, trace, began)
    }
    this.#pauseCreation(CREATE_AFTER_START_MS)
    this.pump()
  }

  /** Those who waited for this start know its phases; later ones find a warm instance. */
  #serveWaiters(instance: Instance, trace: StartTrace, began: number): void {
    while (instance.inFlight < this.version.settings.concurrency) {
      const waiter = this.#waiters.next()
      if (waiter === undefined) return
      waiter.resolve(this.#take(instance, coldStartOf(trace, waiter.since, began)))
    }
  }

  /** The error goes to all who would have used that instance; with no other instance that will serve them, to all who wait. */
  #startFailed(thrown: unknown, trace: StartTrace, began: number): void {
    const others = this.#starting > 0 || this.instances.some(({ state }) => state === 'ready')
    const share = others ? this.version.settings.concurrency : this.#waiters.length
    for (const waiter of this.#waiters.take(share))
      waiter.reject(failedStart(thrown, coldStartOf(trace, waiter.since, began)))
  }

  async #createOne(): Promise<void> {
    this.#creating += 1
    try {
      const id = await createInstance(
        this.#options,
        this.version,
        { reason: 'prewarm' },
        Date.now() + CREATE_AHEAD_MS,
        { phases: {} },
      )
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

  /** `descriptor` is the connection that proved that the instance listens. */
  #connect(instance: Instance, descriptor: number | undefined): void {
    const { host } = this.#options
    instance.connections = new KeptConnections(host, instance.id, descriptor)
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
