import type { IncomingMessage, ServerResponse } from 'node:http'
import type { InvocationRecord, Version } from '../api/index.ts'
import { type Logger, messageOf } from '../common/index.ts'
import { FollowedInstances } from './followed-instances.ts'
import type { HostClient } from './host/host-client.ts'
import type { InstanceInfo } from './host/port.ts'
import {
  Downloads,
  dial,
  type ExitInfo,
  type InstallationIdentity,
  Instance,
  LeaseFile,
  type Provisioned,
  STOP_GRACE_MS,
  StartBudget,
  VersionPool,
} from './instances/index.ts'
import type { CallContext } from './invoke/call.ts'
import { Deadlines } from './invoke/cut.ts'
import { invokeEvent } from './invoke/event.ts'
import { EventHeads } from './invoke/event-head.ts'
import type { JobStore } from './invoke/job.ts'
import { Jobs } from './invoke/jobs.ts'
import type {
  EventCall,
  EventResult,
  InstanceView,
  JobCall,
  PullCredentials,
  RecordSink,
  Runtime,
  WebCall,
} from './invoke/runtime.ts'
import { forwardUpgrade } from './invoke/upgrade.ts'
import { forwardWeb, type StatusOf } from './invoke/web.ts'
import type { Output } from './output/index.ts'
import { VersionPools } from './version-pools.ts'

export interface FunctionRuntimeOptions {
  host: HostClient
  leaseFile: string
  credentials: PullCredentials
  identity: InstallationIdentity
  output: Output
  sink: RecordSink
  jobs: JobStore
  /** Told of each job's record, which `jobs` has kept. */
  onJobRecord: (record: InvocationRecord) => void
  statusOf: StatusOf
  /** The version that serves now, or undefined: for adopting instances of an earlier server. */
  find: (namespace: string, name: string) => Version | undefined
  startsPerMinute: (namespace: string) => number
  logger: Logger
}

const SWEEP_EVERY_MS = 1_000
const STATS_EVERY_MS = 1_000
const UNSEEN_EXIT: ExitInfo = { code: 137, signal: null, oom: false }

/** The server's half of running functions: pools by version, calls through them, instances found again after a restart. */
export class FunctionRuntime implements Runtime {
  readonly #options: FunctionRuntimeOptions
  readonly #pools: VersionPools
  readonly #followed: FollowedInstances
  readonly #leases: LeaseFile
  readonly #downloads: Downloads
  readonly #starts: StartBudget
  readonly #context: CallContext
  readonly #jobs: Jobs
  #jobsRecovered = false
  readonly #timer: NodeJS.Timeout

  constructor(options: FunctionRuntimeOptions) {
    this.#options = options
    this.#downloads = new Downloads(options.host, options.credentials)
    this.#starts = new StartBudget(options.startsPerMinute)
    this.#leases = new LeaseFile(options.leaseFile)
    const { output, identity, find } = options
    this.#pools = new VersionPools({ make: (version) => this.#newPool(version), find })
    this.#followed = new FollowedInstances(options)
    this.#context = {
      leases: this.#leases,
      deadlines: new Deadlines(),
      heads: new EventHeads(identity),
      identity,
      onCall: (event, instance, requestId) =>
        event === 'started' ? output.callBegan(instance, requestId) : output.callEnded(instance, requestId),
      refreshStats: (instance) => this.#refreshStats(instance),
      dial: (instance) => dial(options.host, instance),
      ranOutOfMemory: (instance) => this.#ranOutOfMemory(instance),
      onDefect: (thrown, requestId) => options.logger.error({ requestId, err: thrown }, 'call failed in the platform'),
    }
    this.#jobs = this.#makeJobs()
    options.host.on('exit', ({ id, exit }) => this.#exited(id, exit))
    options.host.onReconnect(() => void this.reconcile())
    this.#timer = setInterval(() => this.#sweep(), SWEEP_EVERY_MS)
  }

  /** Takes over what runs: at the start of a server, and after each restart of the supervisor. */
  async reconcile(): Promise<void> {
    try {
      const { instances } = await this.#options.host.call('list', {}, AbortSignal.timeout(10_000))
      if (this.#jobsRecovered) this.#jobs.reconcile(instances)
      else this.#jobs.recover(instances)
      this.#jobsRecovered = true
      const alive = new Set(instances.map(({ id }) => id))
      for (const info of instances) {
        // It ended while nobody could tell us.
        if (info.state === 'ended' && this.#followed.ownerOf(info.id) !== undefined)
          this.#exited(info.id, info.exit ?? UNSEEN_EXIT)
        else this.#adopt(info)
      }
      for (const id of this.#followed.ids) if (!alive.has(id)) this.#exited(id, UNSEEN_EXIT)
      this.#pools.pumpServing()
    } catch (thrown) {
      this.#options.logger.error({ err: messageOf(thrown) }, 'instances could not be listed')
    }
  }

  invokeEvent(version: Version, call: EventCall): Promise<EventResult> {
    return call.tail ? this.#invokeWithTail(version, call) : this.#invoke(version, call)
  }

  #invoke(version: Version, call: EventCall): Promise<EventResult & { instance: string | null }> {
    return invokeEvent(this.#context, this.#pools.of(version), version, call, this.#options.sink)
  }

  async #invokeWithTail(version: Version, call: EventCall): Promise<EventResult> {
    const sinceMs = Date.now()
    const result = await this.#invoke(version, call)
    const { instance } = result
    if (instance === null) return result
    const { namespace, function: name } = version
    const { requestId } = call
    try {
      const logTail = await this.#options.output.tailOf(instance, { namespace, function: name, requestId, sinceMs })
      return { ...result, info: { ...result.info, logTail } }
    } catch (thrown) {
      this.#options.logger.warn({ instance, requestId, err: messageOf(thrown) }, 'tail of a call could not be read')
      return result
    }
  }

  acceptJob(version: Version, call: JobCall): Promise<void> {
    return this.#jobs.accept(version, call)
  }

  cancelJob(requestId: string, graceful: boolean): Promise<InvocationRecord | undefined> {
    return this.#jobs.cancel(requestId, graceful)
  }

  unfinishedJob(requestId: string): InvocationRecord | undefined {
    return this.#jobs.unfinished(requestId)
  }

  unfinishedJobs(namespace: string, name: string): InvocationRecord[] {
    return this.#jobs.unfinishedOf(namespace, name)
  }

  forwardWeb(version: Version, request: IncomingMessage, response: ServerResponse, call: WebCall): Promise<void> {
    const { sink, statusOf } = this.#options
    return forwardWeb(this.#context, this.#pools.of(version), version, { request, response, call }, sink, statusOf)
  }

  /** A WebSocket of a web function, to its end. `response` stands on the caller's bare connection, `head` came behind the request. */
  forwardUpgrade(
    version: Version,
    request: IncomingMessage,
    response: ServerResponse,
    head: Buffer,
    call: WebCall,
  ): Promise<void> {
    const { sink, statusOf } = this.#options
    const exchange = { request, response, head, call }
    return forwardUpgrade(this.#context, this.#pools.of(version), version, exchange, sink, statusOf)
  }

  versionChanged(version: Version): void {
    this.#pools.of(version).pump()
  }

  functionDeleted(namespace: string, name: string): Promise<void> {
    this.#jobs.functionDeleted(namespace, name)
    this.#pools.deleteFunction(namespace, name)
    return Promise.resolve()
  }

  instances(namespace: string, name: string): InstanceView[] {
    const nowMs = Date.now()
    const pooled = this.#pools.ofFunction(namespace, name).flatMap((pool) =>
      pool.instances.map((instance) => ({
        id: instance.id,
        version: pool.version.version,
        state: viewState(instance),
        ageMs: nowMs - instance.createdAtMs,
        memoryBytes: instance.memoryBytes,
        calls: instance.calls,
        reason: instance.reason,
      })),
    )
    return [...pooled, ...this.#jobs.instances(namespace, name)]
  }

  async stopInstances(namespace: string, name: string, id?: string): Promise<number> {
    const chosen = this.#pools
      .ofFunction(namespace, name)
      .flatMap((pool) => pool.instances.map((instance) => ({ pool, instance })))
      .filter(({ instance }) => id === undefined || instance.id === id)
    for (const { pool, instance } of chosen) pool.stop(instance, 'asked for')
    await Promise.all(chosen.map(({ instance }) => instance.exitWithin(10_000)))
    return chosen.length + (await this.#jobs.stopInstances(namespace, name, id))
  }

  provisioned(version: Version): Provisioned {
    return this.#pools.of(version).provisioned()
  }

  /** Versions that something runs of, or may be started of: also such as no function has any more. */
  versionsInUse(): Version[] {
    return [...this.#pools.all.map(({ version }) => version), ...this.#jobs.versions()]
  }

  counts(): Record<string, number> {
    const counts: Record<string, number> = { created: 0, ready: 0, draining: 0, ...this.#jobs.counts() }
    for (const pool of this.#pools.all) {
      for (const instance of pool.instances) {
        const state = viewState(instance)
        counts[state] = (counts[state] ?? 0) + 1
      }
    }
    return counts
  }

  close(): void {
    clearInterval(this.#timer)
    this.#jobs.close()
    this.#leases.dispose()
  }

  #makeJobs(): Jobs {
    const { host, identity, logger, output, jobs, onJobRecord } = this.#options
    return new Jobs({
      host,
      downloads: this.#downloads,
      starts: this.#starts,
      identity,
      logger,
      leases: this.#leases,
      store: jobs,
      onInstance: (instance, version) => this.#followed.follow(instance, version),
      onBegan: (instance, requestId, sinceMs) => output.callBegan(instance, requestId, sinceMs),
      onEnded: (instance, requestId) => output.callEnded(instance, requestId),
      onRecord: onJobRecord,
    })
  }

  #newPool(version: Version): VersionPool {
    const { host, identity, logger } = this.#options
    const downloads = this.#downloads
    const onInstance = (instance: Instance): void => this.#followed.follow(instance.id, version)
    const instancesElsewhere = (): number =>
      this.#pools
        .ofFunction(version.namespace, version.function)
        .filter((other) => other.version.revision !== version.revision)
        .reduce((sum, { running }) => sum + running, 0)
    return new VersionPool(version, {
      host,
      downloads,
      starts: this.#starts,
      identity,
      logger,
      onInstance,
      instancesElsewhere,
    })
  }

  /** An instance that the supervisor runs and this server does not know: of an earlier server, or of an answer that was lost. */
  #adopt(info: InstanceInfo): void {
    if (this.#followed.ownerOf(info.id) !== undefined || info.state === 'creating' || this.#jobs.expects(info)) return
    this.#followed.follow(info.id, info.owner)
    const { requestId } = info.owner
    // Of a job whose record is kept already: what it printed last is still its own.
    if (requestId !== undefined)
      this.#options.output.callBegan(info.id, requestId, info.startedAtMs ?? info.createdAtMs)
    if (info.state === 'ended') {
      void this.#followed.finish(info.id)
      return
    }
    if (requestId !== undefined) {
      this.#endForeign(info)
      return
    }
    const version = this.#options.find(info.owner.namespace, info.owner.function)
    const serves = version !== undefined && info.owner.version === `${version.version}@${version.revision}`
    const usable = serves && info.leasedUntilMs === null && (info.state === 'running' || info.state === 'created')
    if (version === undefined || !usable) {
      this.#endForeign(info)
      return
    }
    const state = info.state === 'created' ? 'created' : 'ready'
    this.#pools.of(version).adopt(new Instance(info.id, state, info.owner.purpose, info.createdAtMs))
  }

  /** Somebody's call may still run in it: it ends then, by the supervisor's hand, or now when nothing runs. */
  #endForeign(info: InstanceInfo): void {
    if (info.leasedUntilMs !== null && info.leasedUntilMs > Date.now()) return
    this.#options.host
      .call('stop', { id: info.id, graceMs: STOP_GRACE_MS, reason: 'not needed after restart' })
      .catch((thrown: unknown) =>
        this.#options.logger.error({ instance: info.id, err: messageOf(thrown) }, 'stop failed'),
      )
  }

  #exited(id: string, exit: ExitInfo): void {
    for (const pool of this.#pools.all) pool.exited(id, exit)
    this.#pumpBehind(id)
    void this.#jobs.exited(id, exit).then(() => this.#followed.finish(id))
  }

  /** The end of an old revision's instance may leave room for one of the new. */
  #pumpBehind(id: string): void {
    const owner = this.#followed.ownerOf(id)
    if (owner === undefined) return
    for (const pool of this.#pools.ofFunction(owner.namespace, owner.function)) pool.pump()
  }

  #sweep(): void {
    this.#pools.sweep(Date.now())
    this.#followed.finishAgain()
  }

  /** Whether the kernel has killed a process of it for memory: asked only when a call fails. */
  async #ranOutOfMemory(instance: Instance): Promise<boolean> {
    instance.statsAtMs = 0
    await this.#refreshStats(instance)
    return instance.oomKills > 0
  }

  /** Memory of an instance, at most once a second for all its calls: a look costs the supervisor 0.1 ms. */
  #refreshStats(instance: Instance): Promise<void> | undefined {
    const nowMs = Date.now()
    if (nowMs - instance.statsAtMs < STATS_EVERY_MS) return undefined
    instance.statsAtMs = nowMs
    return this.#readStats(instance)
  }

  async #readStats(instance: Instance): Promise<void> {
    try {
      const stats = await this.#options.host.call('stats', { id: instance.id }, AbortSignal.timeout(200))
      instance.memoryBytes = stats.memoryPeakBytes
      instance.oomKills = stats.oomKills
    } catch {
      // The figure of the last look stays; a call is not failed for it.
    }
  }
}

function viewState(instance: Instance): InstanceView['state'] {
  switch (instance.state) {
    case 'ready':
      return instance.inFlight > 0 ? 'busy' : 'ready'
    case 'ended':
      return 'draining'
    case 'created':
    case 'starting':
    case 'draining':
      return instance.state
  }
}
