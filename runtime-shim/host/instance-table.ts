import { rmSync } from 'node:fs'
import { join } from 'node:path'
import { AppError, type Logger, messageOf, SingleFlight } from '../../common/index.ts'
import type { ImageConfig } from '../../oci/index.ts'
import type {
  Engine,
  EngineInstance,
  ExitStatus,
  InstanceSpec,
  PreparedImage,
  PrepareRequest,
} from '../engines/engine.ts'
import { dialUntilListening } from './dial.ts'
import { type InstanceFile, readInstanceFiles, writeInstanceFile } from './instance-file.ts'
import { openOutputFile, removeOutputFiles } from './output-files.ts'
import type { Args, InstanceInfo, Result } from './port.ts'

export interface InstanceTableOptions {
  engine: Engine
  /** `run/instances`. */
  directory: string
  bootId: string
  logger: Logger
  newId: () => string
  onExit: (id: string, exit: ExitStatus) => void
  /** Deadline of the last call that a dead server left open in an instance, or null. */
  leasedUntil: (id: string) => number | null
}

interface Entry {
  file: InstanceFile
  /** Undefined while it is created, and once nothing of it is left but its output. */
  running: EngineInstance | undefined
  state: InstanceInfo['state']
  exit: ExitStatus | null
  endedAtMs: number | null
  /** A process of it was killed for memory, and it was ended for that. */
  outOfMemory?: true
}

/** Ended instances whose output no server has fetched are kept this long. */
const KEEP_ENDED_MS = 10 * 60_000
const MAX_PREPARED = 1_000

/**
 * From listening to the CPU limit. The first call still loads and compiles: at a tenth of a core it took 230 ms where it takes 40 with
 * all of one, which more than doubled the cold start of small functions.
 */
const FULL_SPEED_MS = 150

/** Every instance of the platform: made, started, dialled, stopped, and found again after a restart. */
export class InstanceTable {
  readonly #options: InstanceTableOptions
  readonly #entries = new Map<string, Entry>()
  readonly #prepared = new Map<string, ImageConfig>()
  readonly #creating = new Set<Promise<void>>()
  readonly #keyed = new SingleFlight<Result<'create'>>()
  #ending = false

  constructor(options: InstanceTableOptions) {
    this.#options = options
  }

  /** Adopts what survived, removes what belongs to nobody. Called once, before the port opens. */
  async recover(): Promise<void> {
    const { engine, directory, logger } = this.#options
    for (const found of readInstanceFiles(directory, logger)) {
      const adopted = await this.#recoverOne(found.file)
      if (adopted) continue
      const { file } = found
      const ran = file?.state === 'started' ? file : undefined
      const exit = ran?.bootId === this.#options.bootId ? await engine.lastExit(ran.spec) : undefined
      await engine.sweep(found.id, found.directory)
      if (ran !== undefined) this.#keepOutput(ran, exit)
      else rmSync(found.directory, { recursive: true, force: true })
    }
    for (const id of await engine.strays()) {
      if (!this.#entries.has(id)) await engine.sweep(id, join(directory, id))
    }
  }

  async prepare(request: PrepareRequest, signal?: AbortSignal): Promise<PreparedImage> {
    const prepared = await this.#options.engine.prepare(request, signal)
    if (this.#prepared.size >= MAX_PREPARED) this.#prepared.delete(this.#prepared.keys().next().value ?? '')
    this.#prepared.set(prepared.digest, prepared.config)
    return prepared
  }

  async create(args: Args<'create'>): Promise<Result<'create'>> {
    const { key } = args
    if (key === undefined) return this.#create(args)
    const made = [...this.#entries.values()].find(({ file, state }) => file.key === key && state === 'created')
    if (made !== undefined) return { id: made.file.spec.id, createMs: 0 }
    return this.#keyed.run(key, () => this.#create(args))
  }

  async #create(args: Args<'create'>): Promise<Result<'create'>> {
    const started = performance.now()
    const config = this.#prepared.get(args.digest) ?? (await this.#localConfig(args))
    if (this.#ending) throw new AppError('the platform ends', { code: 'host-gone', retryable: true })
    const id = this.#options.newId()
    const { registry, repository, digest, owner, graceMs, key, command, args: argv, ...limits } = args
    const spec: InstanceSpec = {
      id,
      directory: join(this.#options.directory, id),
      image: { registry, repository, digest: digest as PreparedImage['digest'], config },
      hostname: `${owner.function}-${id.slice(0, 8)}`.slice(0, 63),
      ...limits,
      ...(command === undefined ? {} : { command }),
      ...(argv === undefined ? {} : { args: argv }),
    }
    const { bootId } = this.#options
    const file: InstanceFile = {
      bootId,
      owner,
      spec,
      graceMs,
      ...(key === undefined ? {} : { key }),
      createdAtMs: Date.now(),
      startedAtMs: null,
      state: 'creating',
    }
    const entry: Entry = { file, running: undefined, state: 'creating', exit: null, endedAtMs: null }
    this.#entries.set(id, entry)
    const creating = this.#make(entry)
    this.#creating.add(creating)
    try {
      await creating
    } finally {
      this.#creating.delete(creating)
    }
    return { id, createMs: performance.now() - started }
  }

  async #make(entry: Entry): Promise<void> {
    const { file } = entry
    const { id, directory } = file.spec
    try {
      writeInstanceFile(file)
      const running = await this.#options.engine.create(file.spec)
      writeInstanceFile({ ...file, state: 'created' })
      this.#attach(entry, running)
      entry.state = 'created'
      file.state = 'created'
    } catch (thrown) {
      this.#entries.delete(id)
      await this.#erase(id, directory)
      throw thrown
    }
  }

  /** May be repeated: a process that runs already is only dialled. */
  async start(args: Args<'start'>): Promise<{ startMs: number; listenMs: number; fd: number }> {
    const entry = this.#entry(args.id)
    const running = this.#running(entry)
    const began = performance.now()
    await this.#begin(entry, running)
    const startMs = performance.now() - began
    const fd = await dialUntilListening(running, args.port, args.listenTimeoutMs)
    if (entry.state === 'starting') entry.state = 'running'
    setTimeout(() => this.#limitCpu(entry), FULL_SPEED_MS).unref()
    return { startMs, listenMs: performance.now() - began - startMs, fd }
  }

  /** A job: its process runs from here on, at its share of the processor at once. May be repeated. Answers how long the start took. */
  async run(id: string): Promise<number> {
    const entry = this.#entry(id)
    const running = this.#running(entry)
    const began = performance.now()
    await this.#begin(entry, running)
    if (entry.state === 'starting') entry.state = 'running'
    this.#limitCpu(entry)
    return performance.now() - began
  }

  async #begin(entry: Entry, running: EngineInstance): Promise<void> {
    if (entry.state !== 'created') return
    entry.state = 'starting'
    entry.file.startedAtMs = Date.now()
    entry.file.state = 'started'
    writeInstanceFile(entry.file)
    await running.start()
  }

  async dial(id: string, port: number): Promise<{ outcome: Result<'dial'>['outcome']; fd: number | null }> {
    const entry = this.#entries.get(id)
    if (entry?.running === undefined || entry.state === 'ended') return { outcome: 'gone', fd: null }
    const outcome = await entry.running.dial(port)
    return { outcome: outcome.kind, fd: outcome.kind === 'connected' ? outcome.fd : null }
  }

  async freeze(id: string): Promise<void> {
    const entry = this.#entry(id)
    await this.#running(entry).freeze()
    if (entry.state === 'running') entry.state = 'frozen'
  }

  async thaw(id: string): Promise<void> {
    const entry = this.#entry(id)
    await this.#running(entry).thaw()
    if (entry.state === 'frozen') entry.state = 'running'
  }

  /** Ends the process; an instance that has ended already is an answer, not an error. */
  async stop(id: string, graceMs: number, reason: string): Promise<void> {
    const entry = this.#entries.get(id)
    if (entry?.running === undefined || entry.state === 'ended') return
    this.#options.logger.info({ instance: id, reason, graceMs }, 'instance stopped')
    if (entry.state === 'created' || entry.state === 'creating') {
      await entry.running.remove()
      this.#ended(entry, { code: 137, signal: 'SIGKILL', oom: false })
      return
    }
    await entry.running.stop(graceMs)
  }

  /**
   * With one process killed for memory the calls in an instance are over (facts: scf-contract 1.10), though its main process may live on and
   * wait for ever. A job is one call: it may deal with the end of a child as it likes.
   */
  async endOutOfMemory(id: string): Promise<void> {
    const entry = this.#entries.get(id)
    if (entry?.running === undefined || entry.state === 'ended' || entry.outOfMemory) return
    if (entry.file.owner.requestId !== undefined || (await entry.running.oomKills()) === 0) return
    entry.outOfMemory = true
    await this.stop(id, 0, 'a process was killed for memory')
  }

  async stats(id: string): Promise<Result<'stats'>> {
    const running = this.#running(this.#entry(id))
    const [stats, oomKills] = await Promise.all([running.stats(), running.oomKills()])
    return { ...stats, oomKills }
  }

  /** Opens output file number `rotated` (0: the newest). */
  output(id: string, rotated: number): { fd: number | null; rotated: number } {
    return openOutputFile(this.#outputPath(this.#entry(id)), rotated)
  }

  async rotate(id: string): Promise<number> {
    const moved = await this.#running(this.#entry(id)).rotateOutput()
    return Number(moved.slice(moved.lastIndexOf('.') + 1))
  }

  forgetOutput(id: string, upTo: number): void {
    removeOutputFiles(this.#outputPath(this.#entry(id)), upTo)
  }

  /** Everything of an ended instance goes, its directory last. */
  async remove(id: string): Promise<void> {
    const entry = this.#entries.get(id)
    if (entry === undefined || entry.state === 'creating') return
    await entry.running?.remove()
    await this.#erase(id, entry.file.spec.directory)
    this.#entries.delete(id)
  }

  list(): InstanceInfo[] {
    return [...this.#entries.values()].map((entry) => ({
      id: entry.file.spec.id,
      state: entry.state,
      owner: entry.file.owner,
      digest: entry.file.spec.image.digest,
      memoryBytes: entry.file.spec.memoryBytes,
      createdAtMs: entry.file.createdAtMs,
      startedAtMs: entry.file.startedAtMs,
      exit: entry.exit,
      leasedUntilMs: this.#options.leasedUntil(entry.file.spec.id),
    }))
  }

  /** Removes ended instances that nobody has fetched the output of for too long. */
  async forgetEnded(nowMs: number): Promise<void> {
    for (const [id, entry] of this.#entries) {
      if (entry.endedAtMs === null || nowMs - entry.endedAtMs <= KEEP_ENDED_MS) continue
      // Not asked for again while this goes on; what could not be removed is tried again as much later.
      entry.endedAtMs = nowMs
      await this.remove(id).catch((thrown: unknown) => this.#notRemoved(id, thrown))
    }
  }

  /** Ends every instance and removes every trace: the platform goes down. */
  async stopAll(graceMs: number): Promise<void> {
    this.#ending = true
    await Promise.allSettled(this.#creating)
    await Promise.all(
      [...this.#entries.keys()].map((id) => this.stop(id, graceMs, 'platform ends').catch(() => undefined)),
    )
    await Promise.all(
      [...this.#entries.keys()].map((id) => this.remove(id).catch((thrown: unknown) => this.#notRemoved(id, thrown))),
    )
  }

  #notRemoved(id: string, thrown: unknown): void {
    this.#options.logger.error({ instance: id, err: messageOf(thrown) }, 'instance could not be removed')
  }

  async #recoverOne(file: InstanceFile | undefined): Promise<boolean> {
    if (file === undefined || file.bootId !== this.#options.bootId || file.state === 'creating') return false
    const entry: Entry = { file, running: undefined, state: 'running', exit: null, endedAtMs: null }
    const running = await this.#options.engine.adopt(file.spec)
    if (running === undefined) return false
    entry.state = file.state === 'created' ? 'created' : 'running'
    this.#entries.set(file.spec.id, entry)
    this.#prepared.set(file.spec.image.digest, file.spec.image.config)
    this.#attach(entry, running)
    // The earlier supervisor may have ended between the start and the limit.
    if (entry.state === 'running') this.#limitCpu(entry)
    this.#options.logger.info({ instance: file.spec.id, state: entry.state }, 'instance adopted')
    return true
  }

  #limitCpu({ file, running, state }: Entry): void {
    if (state === 'ended') return
    running?.applyCpuLimit().catch((thrown: unknown) => {
      this.#options.logger.error({ instance: file.spec.id, err: messageOf(thrown) }, 'CPU limit could not be set')
    })
  }

  /** It ended while there was no supervisor: what it printed last is still to be fetched. */
  #keepOutput(file: InstanceFile, known: ExitStatus | undefined): void {
    const exit = known ?? { code: 137, signal: null, oom: false }
    this.#entries.set(file.spec.id, { file, running: undefined, state: 'ended', exit, endedAtMs: Date.now() })
  }

  #attach(entry: Entry, running: EngineInstance): void {
    entry.running = running
    running.exited.then(
      (exit) => this.#ended(entry, exit),
      (thrown: unknown) => {
        this.#options.logger.error({ instance: running.id, err: messageOf(thrown) }, 'exit of instance not seen')
        this.#ended(entry, { code: 137, signal: null, oom: false })
      },
    )
  }

  #ended(entry: Entry, exit: ExitStatus): void {
    if (entry.state === 'ended') return
    entry.state = 'ended'
    entry.exit = entry.outOfMemory ? { ...exit, oom: true } : exit
    entry.endedAtMs = Date.now()
    this.#options.onExit(entry.file.spec.id, entry.exit)
  }

  async #localConfig(args: Args<'create'>): Promise<ImageConfig> {
    const { registry, repository } = args
    const digest = args.digest as PreparedImage['digest']
    return (await this.prepare({ registry, repository, digest, credential: null, deadlineMs: Date.now() + 5_000 }))
      .config
  }

  #entry(id: string): Entry {
    const entry = this.#entries.get(id)
    if (entry === undefined) throw new AppError(`instance ${id} is not known`, { code: 'instance-gone' })
    return entry
  }

  #running(entry: Entry): EngineInstance {
    const { running } = entry
    if (running !== undefined && entry.state !== 'ended') return running
    const details = { exit: entry.exit }
    throw new AppError(`instance ${entry.file.spec.id} has ended`, { code: 'instance-exited', details })
  }

  #outputPath(entry: Entry): string {
    return entry.running?.outputFile ?? join(entry.file.spec.directory, 'output.log')
  }

  async #erase(id: string, directory: string): Promise<void> {
    await this.#options.engine.sweep(id, directory)
    rmSync(directory, { recursive: true, force: true })
  }
}
