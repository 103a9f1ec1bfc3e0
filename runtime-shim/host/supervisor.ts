import { createHash } from 'node:crypto'
import { closeSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import {
  AppError,
  bootId,
  type DataPaths,
  identify,
  isAlive,
  type Logger,
  messageOf,
  type ProcessIdentity,
  takeDescriptorFrom,
} from '../../common/index.ts'
import { cloudEnvironment } from './cloud-environment.ts'
import { SERVER_UID } from './confine.ts'
import { Deadlines } from './deadlines.ts'
import { platformDockerConfig } from './docker-config.ts'
import { DownloadTable } from './download-table.ts'
import { makeHandlers } from './handlers.ts'
import { HostServer } from './host-server.ts'
import { InstanceTable } from './instance-table.ts'
import { endProcess, Keeper, signalProcess } from './keeper.ts'
import { LeaseWatch } from './lease-watch.ts'
import { assertFree, listen, waitUntilFree } from './listen.ts'
import { boundLog, lastWords, openLog } from './log-file.ts'
import type { OpenedEngine } from './open-engine.ts'
import { readParentFile } from './parent-file.ts'
import { GATEWAY_FD, type Result, type ServerConfig, SILENCE_MS } from './port.ts'
import type { LocalRegistryProcess } from './registry-process.ts'
import { serverView, spawnServer } from './server-process.ts'
import { readStateFile, removeStateFile, type StateFile, writeStateFile } from './state-file.ts'
import { endStrays } from './strays.ts'

export interface SupervisorOptions {
  paths: DataPaths
  codeDirectory: string
  address: string
  port: number
  registryPort: number
  identity: ServerConfig['identity']
  /** A docker configuration with credentials for foreign registries. */
  dockerConfig?: string
  parent: ProcessIdentity | null
  opened: OpenedEngine
  /** Makes the keeper of the local registry; it tells each process that it starts. */
  makeRegistry: (onStarted: (registry: ProcessIdentity) => void) => LocalRegistryProcess
  logger: Logger
  /** Called once, when the first server answers calls and the registry runs. */
  onReady: () => void
  /** Called when the registry cannot be had at the first start: the platform is of no use then. */
  onUnusable: (why: unknown) => void
}

const LOOPBACK = '127.0.0.1'
const LOOK_EVERY_MS = SILENCE_MS / 10
const BOUND_LOGS_EVERY_MS = 5_000
const STRAY_MS = 2_000
/** The server drains for 2 s, then writes down what it has. */
const SERVER_GRACE_MS = 4_000
/** A first server that ended so often before it ever answered will not do better. */
const HOPELESS_STARTS = 5
/** A server that has just been started may take this much longer to say its first word, on a busy machine. */
const START_MS = 15_000

/** Owns sockets, processes and instances; everything it does is small, and everything it owns is found again by the next one. */
export class Supervisor {
  readonly #options: SupervisorOptions
  readonly #leases: LeaseWatch
  readonly #deadlines: Deadlines
  readonly #table: InstanceTable
  readonly #downloads: DownloadTable
  readonly #port: HostServer
  readonly #server: Keeper
  readonly #registry: LocalRegistryProcess
  readonly #state: StateFile
  #listener = -1
  #generation: number
  #heardAtMs = performance.now()
  #lookedAtMs = performance.now()
  #watch: NodeJS.Timeout | undefined
  #boundLogs: NodeJS.Timeout | undefined

  constructor(options: SupervisorOptions) {
    this.#options = options
    const { paths, logger, opened } = options
    const { engine, newInstanceId } = opened
    this.#leases = new LeaseWatch(paths.run)
    this.#deadlines = new Deadlines({
      leases: this.#leases,
      logger,
      stop: (id, why) => this.#table.stop(id, 0, why),
      endOutOfMemory: (id) => this.#table.endOutOfMemory(id),
    })
    this.#table = new InstanceTable({
      engine,
      directory: paths.instances,
      bootId: bootId(),
      logger,
      newId: newInstanceId,
      onExit: (id, exit) => this.#port.tell('exit', { id, exit }),
      leasedUntil: (id) => this.#deadlines.leasedUntil(id),
    })
    this.#downloads = new DownloadTable((download) => this.#port.tell('downloadEnded', { download }))
    this.#generation = Math.max(0, ...this.#leases.generations())
    const spawn = () => this.#spawnServer()
    this.#server = new Keeper({
      role: 'server',
      logger,
      spawn,
      onStarted: (started) => this.#serverStarted(started),
      onFailed: (times) => this.#serverFailed(times),
    })
    this.#state = this.#initialState()
    this.#registry = options.makeRegistry((registry) => {
      this.#state.registry = registry
      this.#saveState()
    })
    this.#port = this.#makePort()
  }

  /** Takes over from an earlier supervisor or begins anew. Throws `port-taken`. */
  async start(): Promise<void> {
    const { paths, registryPort, logger } = this.#options
    const before = readStateFile(paths)
    const oldServer = await this.#takeOver(before?.server ?? undefined)
    const oldRegistry = before?.registry != null && isAlive(before.registry) ? before.registry : undefined
    const strays = endStrays(paths.hash, [oldServer, oldRegistry])
    if (strays.length > 0) {
      logger.warn({ strays }, 'processes that nobody had written down were ended')
      await waitUntilFree(LOOPBACK, registryPort, STRAY_MS)
    }
    if (oldServer === undefined && oldRegistry === undefined) assertFree(LOOPBACK, registryPort, '--registry-port')
    await this.#table.recover()
    await this.#port.listen()
    this.#state.ready = before?.ready === true
    this.#registry.adopt(oldRegistry)
    if (oldServer === undefined) this.#server.start()
    else {
      this.#server.adopt(oldServer)
      this.#heardAtMs = performance.now()
    }
    this.#watch = setInterval(() => this.#watchServer(), LOOK_EVERY_MS)
    this.#boundLogs = setInterval(() => void this.#limitLogs(), BOUND_LOGS_EVERY_MS)
  }

  /** Ends everything that the platform started and removes every trace but the data. */
  async shutDown(graceMs: number): Promise<void> {
    clearInterval(this.#watch)
    clearInterval(this.#boundLogs)
    this.#deadlines.close()
    this.#port.tell('shutdown', { graceMs })
    await this.#server.close(graceMs === 0 ? 0 : SERVER_GRACE_MS)
    if (this.#listener >= 0) closeSync(this.#listener)
    this.#listener = -1
    try {
      await this.#table.stopAll(graceMs)
    } finally {
      await this.#registry.close()
      this.#port.close()
      await this.#options.opened.close()
    }
    removeStateFile(this.#options.paths)
  }

  /**
   * The listening socket: that of a living server, which goes on, or a new one. A server that does not give its socket (it ends just now, or
   * this user may not take it) is ended. The lease file is known before anything else happens: a living server's is not a dead one's.
   */
  async #takeOver(before: StateFile['server'] | undefined): Promise<NonNullable<StateFile['server']> | undefined> {
    if (before != null && isAlive(before)) {
      try {
        this.#listener = takeDescriptorFrom(before.pid, GATEWAY_FD)
        this.#generation = before.generation
        this.#leases.adopt(before.generation)
        return before
      } catch (thrown) {
        this.#options.logger.warn({ ...before, err: messageOf(thrown) }, 'server does not give its socket')
        await endProcess(before, 0)
      }
    }
    const { address, port } = this.#options
    this.#listener = listen(address, port, '--port')
    return undefined
  }

  #makePort(): HostServer {
    const { paths, logger, opened } = this.#options
    return new HostServer({
      socketPath: paths.hostSocket,
      fdSocketPath: paths.hostFdSocket,
      gid: SERVER_UID,
      isServer: (peer) => this.#isServer(peer),
      handlers: makeHandlers({
        table: this.#table,
        downloads: this.#downloads,
        engine: opened.engine,
        serverConfig: () => this.#serverConfig(),
        processes: () => this.#processes(),
        onReady: (caPem) => this.#serverReady(caPem),
        registry: this.#registry,
        findCredential: platformDockerConfig(this.#options.dockerConfig),
      }),
      onMessage: () => {
        this.#heardAtMs = performance.now()
      },
      logger,
    })
  }

  /** Another process of the server's own user is one that an earlier supervisor started and did not live to write down: it is ended. */
  #isServer({ pid, uid }: { pid: number; uid: number }): boolean {
    const own = process.getuid?.() ?? 0
    if (uid !== (own === 0 ? SERVER_UID : own)) return false
    if (pid === this.#server.current?.pid) return true
    const lost = own === 0 ? identify(pid) : undefined
    if (lost !== undefined) signalProcess(lost, 'SIGKILL')
    return false
  }

  #serverConfig(): ServerConfig {
    const { paths, codeDirectory, address, port, registryPort, identity } = this.#options
    const view = serverView(paths, codeDirectory)
    const token = readFileSync(paths.adminToken, 'utf8').trim()
    return {
      dataRoot: view,
      address,
      port,
      registryHost: `${LOOPBACK}:${registryPort}`,
      registryRealm: `http://${LOOPBACK}:${port}/registry/token`,
      adminTokenSha256: createHash('sha256').update(token).digest('hex'),
      leaseFile: join(view, 'run', `leases-${this.#generation}`),
      identity,
      generation: this.#generation,
    }
  }

  #spawnServer() {
    const { paths, codeDirectory } = this.#options
    this.#generation = Math.max(this.#generation, ...this.#leases.generations()) + 1
    this.#leases.create(this.#generation, SERVER_UID, SERVER_UID)
    const logFd = openLog(join(paths.log, 'server.log'))
    try {
      return spawnServer({
        paths,
        codeDirectory,
        listener: this.#listener,
        generation: this.#generation,
        logFd,
        // It has no home; without the variable the clouds' SDK fails on looking for one.
        env: { ...logLevel(), ...cloudEnvironment(), HOME: '/nonexistent' },
      })
    } finally {
      closeSync(logFd)
    }
  }

  #serverStarted(started: ProcessIdentity): void {
    this.#heardAtMs = performance.now() + START_MS
    this.#state.server = { ...started, generation: this.#generation }
    this.#saveState()
  }

  #serverFailed(times: number): void {
    if (this.#state.ready || times !== HOPELESS_STARTS) return
    const log = join(this.#options.paths.log, 'server.log')
    const why = `the server ended ${times} times before it answered; its last words: ${lastWords(log)}`
    this.#options.onUnusable(new AppError(why, { code: 'server-unusable', hint: `see ${log}` }))
  }

  /** What cannot be written down (a full disk) is served all the same; only the next supervisor will not know of it. */
  #saveState(): void {
    try {
      writeStateFile(this.#options.paths, this.#state)
    } catch (thrown) {
      this.#options.logger.error({ err: messageOf(thrown) }, 'state of the platform could not be written')
    }
  }

  #serverReady(caPem: string): void {
    const { logger, onReady, onUnusable } = this.#options
    this.#registry
      .ensure(caPem)
      .then(() => {
        this.#state.ready = true
        this.#saveState()
        onReady()
      })
      .catch((thrown: unknown) => {
        logger.error({ err: messageOf(thrown) }, 'registry did not start')
        if (!this.#state.ready) onUnusable(thrown)
      })
  }

  /**
   * A server that says nothing for SILENCE_MS (stopped, or its thread blocked) is dead: its sockets must not wait for it. Where we did not
   * run ourselves (stopped, or the machine slept), what it said meanwhile is still to be read.
   */
  #watchServer(): void {
    const nowMs = performance.now()
    if (nowMs - this.#lookedAtMs > SILENCE_MS / 2) this.#heardAtMs = Math.max(this.#heardAtMs, nowMs)
    this.#lookedAtMs = nowMs
    if (nowMs - this.#heardAtMs > SILENCE_MS) {
      this.#heardAtMs = nowMs
      this.#server.kill(`silent for ${SILENCE_MS} ms`)
    }
    this.#table.forgetEnded(Date.now()).catch(() => undefined)
  }

  async #limitLogs(): Promise<void> {
    const { paths, logger } = this.#options
    for (const name of ['supervisor', 'server', 'registry']) {
      await boundLog(join(paths.log, `${name}.log`)).catch((thrown: unknown) =>
        logger.error({ log: name, err: messageOf(thrown) }, 'log could not be set aside'),
      )
    }
  }

  #processes(): Result<'processes'>['processes'] {
    const { paths, opened } = this.#options
    const rows: { role: string; pid: number | undefined }[] = [
      { role: 'parent', pid: readParentFile(paths)?.pid },
      { role: 'supervisor', pid: process.pid },
      { role: 'server', pid: this.#server.current?.pid },
      { role: 'registry', pid: this.#registry.current?.pid },
      { role: 'worker', pid: opened.workerPid() },
    ]
    return rows.flatMap(({ role, pid }) => (pid === undefined ? [] : [{ role, pid }]))
  }

  #initialState(): StateFile {
    const { address, port, registryPort, opened, parent } = this.#options
    const own = identify(process.pid)
    if (own === undefined) throw new AppError('own process is not in /proc', { code: 'internal' })
    const kind = opened.engine.name === 'docker' ? 'docker' : 'runc'
    const processes = { supervisor: own, parent, server: null, registry: null }
    return { bootId: bootId(), address, port, registryPort, engine: kind, ready: false, ...processes }
  }
}

function logLevel(): Record<string, string> {
  const level = process.env['SLIPWAY_LOG_LEVEL']
  return level === undefined ? {} : { SLIPWAY_LOG_LEVEL: level }
}
