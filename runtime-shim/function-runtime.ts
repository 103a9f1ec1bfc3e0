import type { IncomingMessage, ServerResponse } from 'node:http'
import type { InvocationResult, Version } from '../api/index.ts'
import { type Logger, messageOf } from '../common/index.ts'
import type { HostClient } from './host/host-client.ts'
import type { InstanceInfo } from './host/port.ts'
import {
  dial,
  type ExitInfo,
  type InstallationIdentity,
  Instance,
  LeaseFile,
  STOP_GRACE_MS,
  VersionPool,
} from './instances/index.ts'
import type { CallContext } from './invoke/call.ts'
import { invokeEvent } from './invoke/event.ts'
import type { EventCall, InstanceView, PullCredentials, RecordSink, Runtime, WebCall } from './invoke/runtime.ts'
import { forwardUpgrade } from './invoke/upgrade.ts'
import { forwardWeb, type StatusOf } from './invoke/web.ts'
import { type FunctionName, hostOutputSource, type Output } from './output/index.ts'

export interface FunctionRuntimeOptions {
  host: HostClient
  leaseFile: string
  credentials: PullCredentials
  identity: InstallationIdentity
  output: Output
  sink: RecordSink
  statusOf: StatusOf
  /** The version that serves now, or undefined: for adopting instances of an earlier server. */
  find: (namespace: string, name: string) => Version | undefined
  logger: Logger
}

const SWEEP_EVERY_MS = 1_000
const STATS_EVERY_MS = 1_000
const UNSEEN_EXIT: ExitInfo = { code: 137, signal: null, oom: false }

/** The server's half of running functions: pools by version, calls through them, instances found again after a restart. */
export class FunctionRuntime implements Runtime {
  readonly #options: FunctionRuntimeOptions
  readonly #pools = new Map<string, VersionPool>()
  readonly #retired = new Set<VersionPool>()
  /** Every instance that this server has heard of, until its output is copied and its traces are gone. */
  readonly #known = new Map<string, FunctionName>()
  /** Ended instances whose output or traces could not be dealt with: tried again with each sweep. */
  readonly #unfinished = new Set<string>()
  readonly #finishing = new Set<string>()
  readonly #leases: LeaseFile
  readonly #context: CallContext
  readonly #timer: NodeJS.Timeout

  constructor(options: FunctionRuntimeOptions) {
    this.#options = options
    this.#leases = new LeaseFile(options.leaseFile)
    const { output, identity } = options
    this.#context = {
      leases: this.#leases,
      identity,
      onCall: (event, instance, requestId) =>
        event === 'started' ? output.callBegan(instance, requestId) : output.callEnded(instance, requestId),
      refreshStats: (instance) => this.#refreshStats(instance),
      dial: (instance) => dial(options.host, instance),
    }
    options.host.on('exit', ({ id, exit }) => this.#exited(id, exit))
    options.host.onReconnect(() => void this.reconcile())
    this.#timer = setInterval(() => this.#sweep(), SWEEP_EVERY_MS)
  }

  /** Takes over what runs: at the start of a server, and after each restart of the supervisor. */
  async reconcile(): Promise<void> {
    try {
      const { instances } = await this.#options.host.call('list', {}, AbortSignal.timeout(10_000))
      const alive = new Set(instances.map(({ id }) => id))
      for (const info of instances) {
        // It ended while nobody could tell us.
        if (info.state === 'ended' && this.#known.has(info.id)) this.#exited(info.id, info.exit ?? UNSEEN_EXIT)
        else this.#adopt(info)
      }
      for (const id of this.#known.keys()) if (!alive.has(id)) this.#exited(id, UNSEEN_EXIT)
    } catch (thrown) {
      this.#options.logger.error({ err: messageOf(thrown) }, 'instances could not be listed')
    }
  }

  async invokeEvent(version: Version, call: EventCall): Promise<InvocationResult> {
    const sinceMs = Date.now()
    const { instance, ...result } = await invokeEvent(
      this.#context,
      this.#pool(version),
      version,
      call,
      this.#options.sink,
    )
    if (!call.tail || instance === null) return result
    const { namespace, function: name } = version
    const { requestId } = call
    try {
      const logTail = await this.#options.output.tailOf(instance, { namespace, function: name, requestId, sinceMs })
      return { ...result, logTail }
    } catch (thrown) {
      this.#options.logger.warn({ instance, requestId, err: messageOf(thrown) }, 'tail of a call could not be read')
      return result
    }
  }

  forwardWeb(version: Version, request: IncomingMessage, response: ServerResponse, call: WebCall): Promise<void> {
    const { sink, statusOf } = this.#options
    return forwardWeb(this.#context, this.#pool(version), version, { request, response, call }, sink, statusOf)
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
    return forwardUpgrade(this.#context, this.#pool(version), version, exchange, sink, statusOf)
  }

  versionChanged(version: Version): void {
    this.#pool(version).pump()
  }

  functionDeleted(namespace: string, name: string): Promise<void> {
    for (const [key, pool] of this.#pools) {
      if (!key.startsWith(`${namespace}/${name}@`)) continue
      this.#pools.delete(key)
      this.#retired.add(pool)
      pool.close()
    }
    return Promise.resolve()
  }

  instances(namespace: string, name: string): InstanceView[] {
    const nowMs = Date.now()
    return this.#poolsOf(namespace, name).flatMap((pool) =>
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
  }

  async stopInstances(namespace: string, name: string, id?: string): Promise<number> {
    const chosen = this.#poolsOf(namespace, name)
      .flatMap((pool) => pool.instances.map((instance) => ({ pool, instance })))
      .filter(({ instance }) => id === undefined || instance.id === id)
    for (const { pool, instance } of chosen) pool.drain(instance, 'asked for')
    await Promise.all(chosen.map(({ instance }) => instance.exitWithin(10_000)))
    return chosen.length
  }

  counts(): Record<string, number> {
    const counts: Record<string, number> = { created: 0, starting: 0, ready: 0, busy: 0, draining: 0 }
    for (const pool of [...this.#pools.values(), ...this.#retired]) {
      for (const instance of pool.instances) {
        const state = viewState(instance)
        counts[state] = (counts[state] ?? 0) + 1
      }
    }
    return counts
  }

  close(): void {
    clearInterval(this.#timer)
    this.#leases.dispose()
  }

  #poolsOf(namespace: string, name: string): VersionPool[] {
    const all = [...this.#pools.values(), ...this.#retired]
    return all.filter(({ version }) => version.namespace === namespace && version.function === name)
  }

  /** The pool of exactly this revision. A newer one retires the older; a call that read its version before a change finds the older. */
  #pool(version: Version): VersionPool {
    const key = poolKey(version)
    const known = this.#pools.get(key) ?? [...this.#retired].find((pool) => poolKey(pool.version) === key)
    if (known !== undefined) return known
    const pool = this.#newPool(version)
    const prefix = key.slice(0, key.lastIndexOf('@') + 1)
    // A call that was read before its function was deleted must not leave a pool that is kept filled.
    let newest = this.#options.find(version.namespace, version.function) !== undefined
    for (const [other, old] of this.#pools) {
      if (!other.startsWith(prefix)) continue
      if (old.version.revision > version.revision) newest = false
      else {
        this.#pools.delete(other)
        this.#retired.add(old)
        old.retire()
      }
    }
    if (newest) this.#pools.set(key, pool)
    else {
      this.#retired.add(pool)
      pool.retire()
    }
    return pool
  }

  #newPool(version: Version): VersionPool {
    const { host, credentials, identity, logger } = this.#options
    const onInstance = (instance: Instance): void => this.#follow(instance.id, version)
    return new VersionPool(version, { host, credentials, identity, logger, onInstance })
  }

  #follow(id: string, owner: FunctionName): void {
    if (this.#known.has(id)) return
    const name = { namespace: owner.namespace, function: owner.function }
    this.#known.set(id, name)
    const { output, host, logger } = this.#options
    output.attach(id, name, hostOutputSource(host, id)).catch((thrown: unknown) => {
      logger.error({ instance: id, err: messageOf(thrown) }, 'output is not copied')
    })
  }

  /** An instance that the supervisor runs and this server does not know: of an earlier server, or of an answer that was lost. */
  #adopt(info: InstanceInfo): void {
    if (this.#known.has(info.id) || info.state === 'creating') return
    this.#follow(info.id, info.owner)
    if (info.state === 'ended') {
      void this.#finish(info.id)
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
    this.#pool(version).adopt(new Instance(info.id, state, info.owner.purpose, info.createdAtMs))
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
    for (const pool of [...this.#pools.values(), ...this.#retired]) pool.exited(id, exit)
    void this.#finish(id)
  }

  /** All output copied, then nothing of the instance is needed any more. */
  async #finish(id: string): Promise<void> {
    const owner = this.#known.get(id)
    if (owner === undefined || this.#finishing.has(id)) return
    this.#unfinished.delete(id)
    this.#finishing.add(id)
    try {
      await this.#options.output.finish(id)
      await this.#options.host.call('remove', { id })
      await this.#options.output.forget(id, owner)
      this.#known.delete(id)
    } catch (thrown) {
      this.#unfinished.add(id)
      this.#options.logger.warn({ instance: id, err: messageOf(thrown) }, 'output of an ended instance is not complete')
    } finally {
      this.#finishing.delete(id)
    }
  }

  #sweep(): void {
    const nowMs = Date.now()
    for (const pool of this.#pools.values()) pool.endIdle(nowMs)
    for (const id of this.#unfinished) void this.#finish(id)
    for (const pool of this.#retired) if (pool.empty) this.#retired.delete(pool)
  }

  /** Memory of an instance, at most once a second for all its calls: a look costs the supervisor 0.1 ms. */
  async #refreshStats(instance: Instance): Promise<void> {
    const nowMs = Date.now()
    if (nowMs - instance.statsAtMs < STATS_EVERY_MS) return
    instance.statsAtMs = nowMs
    try {
      const stats = await this.#options.host.call('stats', { id: instance.id }, AbortSignal.timeout(200))
      instance.memoryBytes = stats.memoryPeakBytes
      instance.oomKills = stats.oomKills
    } catch {
      // The figure of the last look stays; a call is not failed for it.
    }
  }
}

function poolKey({ namespace, function: name, version, revision }: Version): string {
  return `${namespace}/${name}@${version}@${revision}`
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
