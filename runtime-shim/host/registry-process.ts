import { chownSync, closeSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { type DataPaths, type Logger, messageOf, type ProcessIdentity, writeFileAtomic } from '../../common/index.ts'
import {
  collectCommand,
  LOCAL_REGISTRY_NAMES,
  REGISTRY_DRAIN_MS,
  registryCommand,
  registryConfig,
  waitForRegistry,
} from '../../registry-auth/index.ts'
import { REGISTRY_UID, viewPath } from './confine.ts'
import { REGISTRY_DATA } from './data-directory.ts'
import { endProcess, Keeper, signalProcess } from './keeper.ts'
import { waitUntilFree } from './listen.ts'
import { openLog } from './log-file.ts'
import { listRegistryFiles } from './registry-files.ts'
import { asRegistryUser, RegistryTask } from './registry-task.ts'

export interface LocalRegistryOptions {
  paths: DataPaths
  port: number
  gatewayPort: number
  logger: Logger
  /** Told with each new or adopted process. */
  onStarted: (registry: ProcessIdentity) => void
}

export type RegistryMode = 'serve' | 'read-only'

const CA = 'ca.pem'
/** A file for each mode: what a registry does is seen from its command line, also by a supervisor that did not start it. */
const CONFIG: Record<RegistryMode, string> = { serve: 'config.yml', 'read-only': 'read-only.yml' }
const START_MS = 20_000
/** A registry that has been told to end closes its socket at once. */
const CLOSE_MS = 2_000

/** The local registry (docker-registry under a user of its own), kept running by the supervisor. */
export class LocalRegistryProcess {
  readonly #options: LocalRegistryOptions
  readonly #keeper: Keeper
  readonly #view: string
  #mode: RegistryMode = 'serve'
  #collector: RegistryTask | undefined
  /** The last change of mode: each begins when the one before it is over. */
  #changes: Promise<unknown> = Promise.resolve()

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
    if (registry === undefined) return
    this.#mode = modeOf(registry)
    this.#keeper.adopt(registry)
  }

  /** Starts it with this CA, or again when it reads another one or takes no pushes; resolves when it answers. Throws `registry-not-ready`. */
  ensure(caPem: string): Promise<void> {
    this.#collector?.kill()
    return this.#change(async () => {
      const written = [
        this.#write(CA, caPem),
        this.#write(CONFIG.serve, this.#config('serve')),
        this.#write(CONFIG['read-only'], this.#config('read-only')),
      ]
      if (this.#keeper.current === undefined) this.#keeper.start()
      else if (this.#mode !== 'serve') return this.#switch('serve')
      else if (written.includes(true)) this.#keeper.kill('configuration changed')
      return this.#answers()
    })
  }

  /** Resolves when it answers in this mode and nothing that began in the former one is going on. Ends a collection. */
  setMode(mode: RegistryMode): Promise<void> {
    this.#collector?.kill()
    return this.#change(() => this.#switch(mode))
  }

  /** Removes the blobs that no manifest refers to, read-only meanwhile and afterwards. Throws `registry-collection-failed`. */
  collect(): Promise<void> {
    return this.#change(async () => {
      await this.#switch('read-only')
      const { file, args } = collectCommand(join(this.#view, CONFIG['read-only']))
      this.#collector = new RegistryTask(this.#options.paths, [file, ...args])
      try {
        await this.#collector.done
      } finally {
        this.#collector = undefined
      }
    })
  }

  /** A descriptor of the list of what it holds, to read from the start; the caller closes it. */
  listFiles(): Promise<number> {
    return listRegistryFiles(this.#options.paths, join(this.#view, REGISTRY_DATA))
  }

  async close(): Promise<void> {
    this.#collector?.kill()
    await this.#keeper.close(2_000)
  }

  /** The next one listens as soon as the former one no longer does, which then ends what it has begun. */
  async #switch(mode: RegistryMode): Promise<void> {
    if (mode === this.#mode && this.#keeper.current !== undefined) return this.#answers()
    this.#options.logger.info({ mode }, 'registry changes its mode')
    const former = this.#keeper.release()
    this.#mode = mode
    if (former !== undefined) {
      signalProcess(former, 'SIGTERM')
      await waitUntilFree('127.0.0.1', this.#options.port, CLOSE_MS)
    }
    this.#keeper.start()
    await this.#answers()
    if (former !== undefined) await endProcess(former, REGISTRY_DRAIN_MS)
  }

  #change(work: () => Promise<void>): Promise<void> {
    const done = this.#changes.then(work)
    this.#changes = done.catch((thrown: unknown) =>
      this.#options.logger.error({ err: messageOf(thrown) }, 'registry could not be changed'),
    )
    return done
  }

  #answers(): Promise<void> {
    return waitForRegistry(`127.0.0.1:${this.#options.port}`, this.#realm, { timeoutMs: START_MS })
  }

  get #realm(): string {
    return `http://127.0.0.1:${this.#options.gatewayPort}/registry/token`
  }

  #config(mode: RegistryMode): string {
    return registryConfig({
      address: '127.0.0.1',
      port: this.#options.port,
      storageDirectory: join(this.#view, REGISTRY_DATA),
      realm: this.#realm,
      ...LOCAL_REGISTRY_NAMES,
      caFile: join(this.#view, CA),
      readOnly: mode === 'read-only',
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

  #spawn() {
    const { paths } = this.#options
    const logFd = openLog(join(paths.log, 'registry.log'))
    const { file, args } = registryCommand(join(this.#view, CONFIG[this.#mode]))
    try {
      return asRegistryUser(paths, [file, ...args], { stdio: ['ignore', logFd, logFd], detached: true })
    } finally {
      closeSync(logFd)
    }
  }
}

/** Of a process that is gone already whatever it was does not matter: the next is started in the mode that is asked for. */
function modeOf({ pid }: ProcessIdentity): RegistryMode {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes(CONFIG['read-only']) ? 'read-only' : 'serve'
  } catch {
    return 'serve'
  }
}
