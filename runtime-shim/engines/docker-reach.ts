import { closeSync, readFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import {
  connectionState,
  errnoOf,
  identify,
  isAlive,
  isPeerClosed,
  type ProcessIdentity,
  startConnect,
} from '../../common/index.ts'
import type { Cgroups, NetworkNamespaces, TmpVolumes } from '../../sandbox/index.ts'
import type { DockerApi } from './docker-api.ts'
import type { DialOutcome, InstanceStats } from './engine.ts'

/** How a running container is dialled and looked at. */
export interface Reach {
  dial(port: number): Promise<DialOutcome>
  oomKills(): Promise<number>
  stats(): Promise<InstanceStats>
}

/** What is possible beyond the Engine's API when it runs on this very machine and we are root. */
export interface LocalSite {
  namespaces: NetworkNamespaces
  cgroups: Cgroups
  volumes: TmpVolumes
}

/** Enters the container's network namespace and reads its control groups. */
export class LocalReach implements Reach {
  readonly #site: LocalSite
  readonly #process: ProcessIdentity
  readonly #cgroup: string
  #oomKills = 0

  private constructor(site: LocalSite, process: ProcessIdentity, cgroup: string) {
    this.#site = site
    this.#process = process
    this.#cgroup = cgroup
  }

  /** Undefined when process `pid` is not (or no longer) the one of that container. */
  static find(site: LocalSite, pid: number, containerId: string): LocalReach | undefined {
    const process = pid > 0 ? identify(pid) : undefined
    if (process === undefined) return undefined
    const cgroup = cgroupOf(pid)
    if (cgroup === undefined || !cgroup.includes(containerId)) return undefined
    const reach = new LocalReach(site, process, cgroup)
    try {
      site.namespaces.addAddress(reach.#namespace)
    } catch (thrown) {
      if (!isAlive(process)) return undefined
      throw thrown
    }
    return reach
  }

  async dial(port: number): Promise<DialOutcome> {
    if (!isAlive(this.#process)) return { kind: 'gone' }
    try {
      return await this.#site.namespaces.dial(this.#namespace, port)
    } catch (thrown) {
      if (errnoOf(thrown) === 'ENOENT') return { kind: 'gone' }
      throw thrown
    }
  }

  /** Remembers what it saw: the control group goes with the process. */
  async oomKills(): Promise<number> {
    this.#oomKills = Math.max(this.#oomKills, this.#site.cgroups.oomKills(this.#cgroup))
    return this.#oomKills
  }

  async stats(): Promise<InstanceStats> {
    return this.#site.cgroups.stats(this.#cgroup)
  }

  get #namespace(): string {
    return `/proc/${this.#process.pid}/ns/net`
  }
}

/** Path of a process's control group where memory is counted (cgroups(7), /proc/PID/cgroup), or undefined when it is gone. */
function cgroupOf(pid: number): string | undefined {
  try {
    const lines = readFileSync(`/proc/${pid}/cgroup`, 'utf8')
      .split('\n')
      .map((line) => line.split(':'))
    const line =
      lines.find(([, controllers]) => controllers?.split(',').includes('memory')) ?? lines.find(([n]) => n === '0')
    return line?.slice(2).join(':')
  } catch {
    return undefined
  }
}

const DIAL_TIMEOUT_MS = 1_000
const EVENTS_TIMEOUT_MS = 10_000
/** The Engine's proxy accepts first and closes when nobody listens behind it; it does so within a millisecond or two. */
const PROXY_VERDICT_MS = 25

/** Dials the published port and asks the Engine for the rest. */
export class PublishedReach implements Reach {
  readonly #api: DockerApi
  readonly #container: string
  readonly #port: number
  readonly #hostPort: number
  readonly #sinceS: number
  #listens = false

  /** `hostPort` of 127.0.0.1 leads to `port` of the container, which was started at `startedAt`. */
  constructor(api: DockerApi, container: string, where: { port: number; hostPort: number; startedAt: string }) {
    this.#api = api
    this.#container = container
    this.#port = where.port
    this.#hostPort = where.hostPort
    this.#sinceS = Math.floor(Date.parse(where.startedAt) / 1000)
  }

  async dial(port: number): Promise<DialOutcome> {
    if (port !== this.#port) return { kind: 'refused' }
    const connection = startConnect('127.0.0.1', this.#hostPort)
    if (connection.kind === 'refused' || connection.kind === 'busy') return connection
    const { fd } = connection
    const outcome = await this.#settle(fd)
    if (outcome !== 'connected') {
      closeSync(fd)
      return { kind: outcome }
    }
    this.#listens = true
    return { kind: 'connected', fd }
  }

  /** Until a dial has found a listener once, the proxy's own answer says nothing: then a connection must also stand for a moment. */
  async #settle(fd: number): Promise<'connected' | 'refused' | 'busy'> {
    const untilMs = performance.now() + DIAL_TIMEOUT_MS
    for (let state = connectionState(fd); state !== 'connected'; state = connectionState(fd)) {
      if (state !== 'pending') return state === 'refused' ? 'refused' : 'busy'
      if (performance.now() > untilMs) return 'busy'
      await sleep(5)
    }
    const verdictMs = performance.now() + (this.#listens ? 1 : PROXY_VERDICT_MS)
    while (performance.now() < verdictMs) {
      if (isPeerClosed(fd)) return 'refused'
      await sleep(1)
    }
    return isPeerClosed(fd) ? 'refused' : 'connected'
  }

  /** The Engine tells of kills as events, of which it keeps the last few hundred. */
  async oomKills(): Promise<number> {
    const filters = { container: [this.#container], event: ['oom'] }
    const until = Math.ceil(Date.now() / 1000)
    const stream = await this.#api.openStream(
      `asking for events of ${this.#container}`,
      (abortSignal) => this.#api.docker.getEvents({ since: this.#sinceS, until, filters, abortSignal }),
      AbortSignal.timeout(EVENTS_TIMEOUT_MS),
    )
    let text = ''
    for await (const chunk of stream) text += String(chunk)
    return text.split('\n').filter(Boolean).length
  }

  async stats(): Promise<InstanceStats> {
    const container = this.#api.container(this.#container)
    const options = { stream: false, 'one-shot': true } as const
    const stats = await this.#api.call(`measuring ${this.#container}`, () => container.stats(options))
    const memoryBytes = stats.memory_stats.usage ?? 0
    return {
      memoryBytes,
      memoryPeakBytes: Math.max(memoryBytes, stats.memory_stats.max_usage ?? 0),
      cpuNs: stats.cpu_stats.cpu_usage.total_usage,
      pids: stats.pids_stats?.current ?? 0,
    }
  }
}
