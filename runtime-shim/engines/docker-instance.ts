import { constants } from 'node:os'
import { setTimeout as sleep } from 'node:timers/promises'
import type Docker from 'dockerode'
import { AppError, type Logger, messageOf } from '../../common/index.ts'
import { type DockerApi, statusOf } from './docker-api.ts'
import type { OutputFollower } from './docker-output.ts'
import type { OutputFile } from './docker-output-file.ts'
import type { Reach } from './docker-reach.ts'
import type { DialOutcome, EngineInstance, ExitStatus, InstanceStats } from './engine.ts'

const KILLED = 128 + constants.signals.SIGKILL
/** How long the Engine may take to tell of an end that SIGKILL has made sure of. */
const KILL_TIMEOUT_MS = 20_000
const LONGEST_RETRY_MS = 5_000

/** What an instance is made of; the engine puts it together. */
export interface InstanceParts {
  api: DockerApi
  id: string
  /** Name of its container. */
  container: string
  stopSignal: number
  /** Cores it may use once `applyCpuLimit` is called; undefined when it may use all of the machine's. */
  cpus: number | undefined
  output: OutputFile
  follower: OutputFollower
  /** Finds the way into the running container; undefined when its process has ended. */
  openReach(state: Docker.ContainerInspectInfo): Promise<Reach | undefined>
  /** Removes the container and everything that goes with it. */
  removeTraces(): Promise<void>
  log: Logger
}

/** One container of a Docker Engine. */
export class DockerInstance implements EngineInstance {
  readonly id: string
  readonly exited: Promise<ExitStatus>
  readonly #parts: InstanceParts
  readonly #settle: (status: ExitStatus) => void
  #settled = false
  #watching: Promise<void> | undefined
  #reach: Reach | undefined
  /** We sent SIGKILL: a death by it is no lack of memory. */
  #killed = false
  #frozen = false
  #diedForMemory = false

  constructor(parts: InstanceParts) {
    const { promise, resolve } = Promise.withResolvers<ExitStatus>()
    this.id = parts.id
    this.exited = promise
    this.#parts = parts
    this.#settle = (status) => {
      this.#settled = true
      resolve(status)
    }
  }

  get outputFile(): string {
    return this.#parts.output.path
  }

  async start(): Promise<void> {
    const state = this.#settled ? 'has ended' : this.#watching === undefined ? undefined : 'runs already'
    if (state !== undefined) throw new AppError(`instance ${this.id} ${state}`, { code: 'instance-start-failed' })
    try {
      await this.#call(
        'starting',
        (container, abortSignal) => container.start({ abortSignal }),
        'instance-start-failed',
      )
    } catch (thrown) {
      if (statusOf(thrown) !== undefined) this.#settle({ code: 127, signal: null, oom: false })
      throw thrown
    }
    await this.attach(await this.#inspect())
  }

  /** Takes up a container that runs: the way into it, its output and its end. */
  async attach(state: Docker.ContainerInspectInfo): Promise<void> {
    this.#frozen = state.State.Paused
    this.#reach = await this.#parts.openReach(state)
    this.#parts.follower.start()
    this.#watching = this.#watch()
  }

  async dial(port: number): Promise<DialOutcome> {
    if (this.#settled || this.#reach === undefined) return { kind: 'gone' }
    return this.#reach.dial(port)
  }

  async applyCpuLimit(): Promise<void> {
    const { cpus } = this.#parts
    if (cpus === undefined) return
    const NanoCpus = Math.round(Math.max(cpus, 0.01) * 1e9)
    await this.#call('limiting', (container, abortSignal) => container.update({ NanoCpus, abortSignal }))
  }

  rotateOutput(): Promise<string> {
    return this.#parts.output.rotate()
  }

  async oomKills(): Promise<number> {
    return Math.max((await this.#reach?.oomKills()) ?? 0, this.#diedForMemory ? 1 : 0)
  }

  async freeze(): Promise<void> {
    await this.#call('freezing', (container, abortSignal) => container.pause({ abortSignal }), 'freeze-failed')
    this.#frozen = true
  }

  async thaw(): Promise<void> {
    await this.#call('thawing', (container, abortSignal) => container.unpause({ abortSignal }), 'freeze-failed')
    this.#frozen = false
  }

  async stop(graceMs: number): Promise<ExitStatus> {
    if (this.#watching === undefined) this.#endUnstarted()
    if (this.#settled) return this.exited
    await this.#signal(this.#parts.stopSignal)
    if (!(await this.#endsWithin(graceMs))) await this.#kill()
    return this.exited
  }

  async stats(): Promise<InstanceStats> {
    if (this.#reach === undefined || this.#settled)
      throw new AppError(`instance ${this.id} has ended`, { code: 'instance-gone' })
    return this.#reach.stats()
  }

  async remove(): Promise<void> {
    if (this.#watching === undefined) this.#endUnstarted()
    if (!this.#settled) await this.#kill()
    await this.close()
    await this.#parts.removeTraces()
  }

  /** Lets go of the instance without touching it. */
  async close(): Promise<void> {
    await this.#parts.follower.close()
  }

  #endUnstarted(): void {
    if (!this.#settled) this.#settle({ code: KILLED, signal: 'SIGKILL', oom: false })
  }

  async #kill(): Promise<void> {
    this.#killed = true
    await this.#signal(constants.signals.SIGKILL)
    if (await this.#endsWithin(KILL_TIMEOUT_MS)) return
    throw new AppError(`instance ${this.id} does not end after SIGKILL`, { code: 'processes-remain', retryable: true })
  }

  /** A process that has ended already counts as signalled. */
  async #signal(signal: number): Promise<void> {
    try {
      await this.#call('signalling', (container, abortSignal) =>
        container.kill({ signal: String(signal), abortSignal }),
      )
    } catch (thrown) {
      if (![404, 409].includes(statusOf(thrown) ?? 0)) throw thrown
    }
    // What is frozen takes no signal; the Engine may have thawed it by itself.
    if (this.#frozen) await this.thaw().catch((thrown: unknown) => this.#notThawed(thrown))
  }

  #notThawed(thrown: unknown): void {
    this.#frozen = false
    this.#parts.log.debug({ instance: this.id, why: messageOf(thrown) }, 'not thawed')
  }

  async #endsWithin(ms: number): Promise<boolean> {
    const timer = new AbortController()
    const late = sleep(ms, false, { signal: timer.signal }).catch(() => false)
    const ended = await Promise.race([this.exited.then(() => true), late])
    timer.abort()
    return ended
  }

  /** Waits for the end, over restarts of the Engine, and tells it once the output is complete. */
  async #watch(): Promise<void> {
    const { api, follower, log } = this.#parts
    for (let retryMs = 100; !api.closing.aborted; retryMs = Math.min(LONGEST_RETRY_MS, retryMs * 2)) {
      try {
        const status = await this.#waitForEnd()
        await follower.finish()
        this.#settle(status)
        return
      } catch (thrown) {
        if (api.closing.aborted) return
        log.warn({ instance: this.id, why: messageOf(thrown) }, 'waiting for the end of an instance interrupted')
        await sleep(retryMs, undefined, { ref: false })
      }
    }
  }

  async #waitForEnd(): Promise<ExitStatus> {
    const { api, container: name } = this.#parts
    const container = api.container(name)
    const waited = await api.waitForEnd(name)
    const found = await api.find(`looking at ${name}`, (abortSignal) => container.inspect({ abortSignal }))
    const code = waited ?? found?.State.ExitCode ?? KILLED
    const oom = found?.State.OOMKilled === true && code === KILLED && !this.#killed
    this.#diedForMemory = oom
    return { code, signal: signalName(code), oom }
  }

  #inspect(): Promise<Docker.ContainerInspectInfo> {
    return this.#call('looking at', (container, abortSignal) => container.inspect({ abortSignal }))
  }

  #call<T>(
    what: string,
    work: (container: Docker.Container, signal: AbortSignal) => Promise<T>,
    code?: string,
  ): Promise<T> {
    const { api, container: name, id } = this.#parts
    const container = api.container(name)
    return api.call(`${what} instance ${id}`, (signal) => work(container, signal), code === undefined ? {} : { code })
  }
}

/** A shell's convention, which the Engine follows: 128 + signal. */
export function signalName(code: number): string | null {
  const entry = Object.entries(constants.signals).find(([, number]) => number === code - 128)
  return entry?.[0] ?? null
}
