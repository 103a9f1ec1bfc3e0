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
  listenTcp,
  messageOf,
  type ProcessIdentity,
  syscallErrno,
  takeAbstractLock,
  takeDescriptorFrom,
} from '../../common/index.ts'
import { SERVER_UID } from './confine.ts'
import { Deadlines } from './deadlines.ts'
import { makeHandlers } from './handlers.ts'
import { HostServer } from './host-server.ts'
import { InstanceTable } from './instance-table.ts'
import { Keeper } from './keeper.ts'
import { LeaseWatch } from './lease-watch.ts'
import { openLog } from './log-file.ts'
import type { OpenedEngine } from './open-engine.ts'
import { GATEWAY_FD, type Result, type ServerConfig, SILENCE_MS } from './port.ts'
import type { LocalRegistryProcess } from './registry-process.ts'
import { serverView, spawnServer } from './server-process.ts'
import { readStateFile, type StateFile, writeStateFile } from './state-file.ts'

export interface SupervisorOptions {
  paths: DataPaths
  codeDirectory: string
  address: string
  port: number
  registryPort: number
  identity: ServerConfig['identity']
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

/** Owns sockets, processes and instances; everything it does is small, and everything it owns is found again by the next one. */
export class Supervisor {
  readonly #options: SupervisorOptions
  readonly #leases: LeaseWatch
  readonly #deadlines: Deadlines
  readonly #table: InstanceTable
  readonly #port: HostServer
  readonly #server: Keeper
  readonly #registry: LocalRegistryProcess
  readonly #state: StateFile
  #listener = -1
  #generation: number
  #heardAtMs = Date.now()
  #watch: NodeJS.Timeout | undefined

  constructor(options: SupervisorOptions) {
    this.#options = options
    const { paths, logger, opened } = options
    const { engine, newInstanceId } = opened
    this.#leases = new LeaseWatch(paths.run)
    this.#deadlines = new Deadlines({ leases: this.#leases, logger, stop: (id, why) => this.#table.stop(id, 0, why) })
    this.#table = new InstanceTable({
      engine,
      directory: paths.instances,
      bootId: bootId(),
      logger,
      newId: newInstanceId,
      onExit: (id, exit) => this.#port.tell('exit', { id, exit }),
      leasedUntil: (id) => this.#deadlines.leasedUntil(id),
    })
    this.#generation = Math.max(0, ...this.#leases.generations())
    const spawn = () => this.#spawnServer()
    this.#server = new Keeper({ role: 'server', logger, spawn, onStarted: (started) => this.#serverStarted(started) })
    this.#port = this.#makePort()
    this.#state = this.#initialState()
    this.#registry = options.makeRegistry((registry) => {
      this.#state.registry = registry
      writeStateFile(paths, this.#state)
    })
  }

  /** Takes over from an earlier supervisor or begins anew. Throws `already-running`, `port-taken`. */
  async start(): Promise<void> {
    const { paths } = this.#options
    if (!takeAbstractLock(`slipway-${paths.hash}-supervisor`)) {
      throw new AppError(`another supervisor runs on ${paths.root}`, { code: 'already-running', fault: 'user' })
    }
    const before = readStateFile(paths)
    const oldServer = before?.server != null && isAlive(before.server) ? before.server : undefined
    this.#listener = oldServer === undefined ? this.#listen() : takeDescriptorFrom(oldServer.pid, GATEWAY_FD)
    await this.#table.recover()
    await this.#port.listen()
    this.#state.ready = before?.ready === true
    this.#registry.adopt(before?.registry != null && isAlive(before.registry) ? before.registry : undefined)
    if (oldServer === undefined) this.#server.start()
    else {
      this.#generation = oldServer.generation
      this.#leases.adopt(oldServer.generation)
      this.#server.adopt(oldServer)
    }
    this.#heardAtMs = Date.now()
    this.#watch = setInterval(() => this.#watchServer(), SILENCE_MS / 10)
  }

  /** Ends everything that the platform started and removes every trace but the data. */
  async shutDown(graceMs: number): Promise<void> {
    clearInterval(this.#watch)
    this.#deadlines.close()
    this.#port.tell('shutdown', { graceMs })
    await this.#server.close(graceMs)
    if (this.#listener >= 0) closeSync(this.#listener)
    this.#listener = -1
    await this.#table.stopAll(graceMs)
    await this.#registry.close()
    this.#port.close()
    await this.#options.opened.close()
  }

  #listen(): number {
    const { address, port } = this.#options
    try {
      return listenTcp(address, port)
    } catch (thrown) {
      const errno = syscallErrno(thrown)
      if (errno !== 'EADDRINUSE' && errno !== 'EACCES' && errno !== 'EADDRNOTAVAIL') throw thrown
      const why = {
        EADDRINUSE: 'is taken by another program',
        EACCES: 'needs root',
        EADDRNOTAVAIL: 'is no address here',
      }[errno]
      throw new AppError(`${address}:${port} ${why}`, {
        code: 'port-taken',
        fault: 'user',
        hint: `choose another with --port, or end what listens there`,
        cause: thrown,
      })
    }
  }

  #makePort(): HostServer {
    const { paths, logger, opened } = this.#options
    return new HostServer({
      socketPath: paths.hostSocket,
      fdSocketPath: paths.hostFdSocket,
      gid: SERVER_UID,
      isServer: (peer) => peer.pid === this.#server.current?.pid && peer.uid === this.#serverUid(),
      handlers: makeHandlers({
        table: this.#table,
        engine: opened.engine,
        serverConfig: () => this.#serverConfig(),
        processes: () => this.#processes(),
        onReady: (caPem) => this.#serverReady(caPem),
      }),
      onMessage: () => {
        this.#heardAtMs = Date.now()
      },
      logger,
    })
  }

  #serverUid(): number {
    const own = process.getuid?.() ?? 0
    return own === 0 ? SERVER_UID : own
  }

  #serverConfig(): ServerConfig {
    const { paths, codeDirectory, address, port, registryPort, identity } = this.#options
    const view = serverView(paths, codeDirectory)
    const token = readFileSync(paths.adminToken, 'utf8').trim()
    return {
      dataRoot: view,
      address,
      port,
      registryHost: `127.0.0.1:${registryPort}`,
      registryRealm: `http://127.0.0.1:${port}/registry/token`,
      adminTokenSha256: createHash('sha256').update(token).digest('hex'),
      leaseFile: join(view, 'run', `leases-${this.#generation}`),
      identity,
      generation: this.#generation,
    }
  }

  #spawnServer() {
    const { paths, codeDirectory } = this.#options
    this.#generation += 1
    this.#leases.create(this.#generation, SERVER_UID, SERVER_UID)
    const logFd = openLog(join(paths.log, 'server.log'))
    const { listener, generation } = { listener: this.#listener, generation: this.#generation }
    try {
      return spawnServer({ paths, codeDirectory, listener, generation, logFd, env: logLevel() })
    } finally {
      closeSync(logFd)
    }
  }

  #serverStarted(started: ProcessIdentity): void {
    this.#heardAtMs = Date.now()
    this.#state.server = { ...started, generation: this.#generation }
    writeStateFile(this.#options.paths, this.#state)
  }

  #serverReady(caPem: string): void {
    const { paths, logger, onReady, onUnusable } = this.#options
    this.#registry
      .ensure(caPem)
      .then(() => {
        this.#state.ready = true
        writeStateFile(paths, this.#state)
        onReady()
      })
      .catch((thrown: unknown) => {
        logger.error({ err: messageOf(thrown) }, 'registry did not start')
        if (!this.#state.ready) onUnusable(thrown)
      })
  }

  /** A server that says nothing for SILENCE_MS (stopped, or its thread blocked) is dead: its sockets must not wait for it. */
  #watchServer(): void {
    if (Date.now() - this.#heardAtMs > SILENCE_MS) {
      this.#heardAtMs = Date.now()
      this.#server.kill(`silent for ${SILENCE_MS} ms`)
    }
    this.#table.forgetEnded(Date.now()).catch(() => undefined)
  }

  #processes(): Result<'processes'>['processes'] {
    const { parent, opened } = this.#options
    const rows: { role: string; pid: number | undefined }[] = [
      { role: 'parent', pid: parent?.pid },
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
