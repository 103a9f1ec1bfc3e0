import { type ChildProcess, spawn } from 'node:child_process'
import { chownSync, closeSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { type DataPaths, type Logger, type ProcessIdentity, writeFileAtomic } from '../../common/index.ts'
import { LOCAL_REGISTRY_NAMES, registryCommand, registryConfig, waitForRegistry } from '../../registry-auth/index.ts'
import { confinedCommand, REGISTRY_UID, viewPath } from './confine.ts'
import { REGISTRY_DATA } from './data-directory.ts'
import { Keeper } from './keeper.ts'
import { openLog } from './log-file.ts'

export interface LocalRegistryOptions {
  paths: DataPaths
  port: number
  gatewayPort: number
  logger: Logger
  /** Told with each new or adopted process. */
  onStarted: (registry: ProcessIdentity) => void
}

const CONFIG = 'config.yml'
const CA = 'ca.pem'

/** The local registry (docker-registry under a user of its own), kept running by the supervisor. */
export class LocalRegistryProcess {
  readonly #options: LocalRegistryOptions
  readonly #keeper: Keeper
  readonly #view: string

  constructor(options: LocalRegistryOptions) {
    this.#options = options
    const { paths, logger, onStarted } = options
    this.#view = process.getuid?.() === 0 ? viewPath([paths.root], 'registry') : paths.registry
    this.#keeper = new Keeper({ role: 'registry', logger, spawn: () => this.#spawn(), onStarted })
  }

  get current(): ProcessIdentity | undefined {
    return this.#keeper.current
  }

  /** Takes over the registry that an earlier supervisor started. */
  adopt(registry: ProcessIdentity | undefined): void {
    if (registry !== undefined) this.#keeper.adopt(registry)
  }

  /** Starts it with this CA, or again when it reads another one; resolves when it answers. Throws `registry-not-ready`. */
  async ensure(caPem: string): Promise<void> {
    const written = [this.#write(CA, caPem), this.#write(CONFIG, this.#config())]
    if (this.#keeper.current === undefined) this.#keeper.start()
    else if (written.includes(true)) this.#keeper.kill('configuration changed')
    const { port } = this.#options
    await waitForRegistry(`127.0.0.1:${port}`, this.#realm, { timeoutMs: 20_000 })
  }

  close(): Promise<void> {
    return this.#keeper.close(2_000)
  }

  get #realm(): string {
    return `http://127.0.0.1:${this.#options.gatewayPort}/registry/token`
  }

  #config(): string {
    return registryConfig({
      address: '127.0.0.1',
      port: this.#options.port,
      storageDirectory: join(this.#view, REGISTRY_DATA),
      realm: this.#realm,
      ...LOCAL_REGISTRY_NAMES,
      caFile: join(this.#view, CA),
    })
  }

  /** True when the file was not there or was another one. */
  #write(name: string, text: string): boolean {
    const path = join(this.#options.paths.registry, name)
    try {
      if (readFileSync(path, 'utf8') === text) return false
    } catch {
      // Not there yet.
    }
    writeFileAtomic(path, text, 0o640)
    if (process.getuid?.() === 0) chownSync(path, 0, REGISTRY_UID)
    return true
  }

  #spawn(): ChildProcess {
    const { paths } = this.#options
    const logFd = openLog(join(paths.log, 'registry.log'))
    const plain = registryCommand(join(this.#view, CONFIG))
    const { file, args } =
      process.getuid?.() === 0
        ? confinedCommand([paths.root], {
            uid: REGISTRY_UID,
            binds: [{ source: paths.registry, name: 'registry', writable: true }],
            hide: [paths.root],
            command: [plain.file, ...plain.args],
          })
        : plain
    const env = { PATH: '/usr/sbin:/usr/bin:/sbin:/bin', OTEL_TRACES_EXPORTER: 'none' }
    try {
      return spawn(file, args, { stdio: ['ignore', logFd, logFd], env, cwd: '/', detached: true })
    } finally {
      closeSync(logFd)
    }
  }
}
