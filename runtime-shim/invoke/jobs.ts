import type { InvocationRecord, Version } from '../../api/index.ts'
import { AppError, type Logger, messageOf } from '../../common/index.ts'
import type { InstanceInfo } from '../host/port.ts'
import { type ExitInfo, quotaOf } from '../instances/index.ts'
import { eventTooLarge, type JobStore, lostJob, MAX_JOB_EVENT_BYTES, type StoredJob } from './job.ts'
import { JobRun, type JobRunContext } from './job-run.ts'
import type { InstanceView, JobCall } from './runtime.ts'

export interface JobsOptions extends Omit<JobRunContext, 'store' | 'onInstance'> {
  store: JobStore
  /** An instance of a job exists: its output is to be collected. */
  onInstance: (instance: string, version: Version) => void
  /** Told of each record once it is kept. */
  onRecord: (record: InvocationRecord) => void
  logger: Logger
}

/** Accepted jobs are in memory with their events (128 KB each at most). */
const MAX_ACCEPTED = 10_000
const MAX_EVENT_BYTES = 64 * 1024 * 1024
/** Beyond it starts only take processor time from each other. */
const STARTS_AT_ONCE = 8
const GRACEFUL_MS = 10_000
const START_AGAIN_MS = 1_000
const KEEP_AGAIN_MS = 1_000

/** All jobs that are accepted and not over: in the order of their acceptance, each when its function has room. */
export class Jobs {
  readonly #options: JobsOptions
  readonly #context: JobRunContext
  readonly #runs = new Map<string, JobRun>()
  readonly #byInstance = new Map<string, JobRun>()
  readonly #kept = new WeakMap<JobRun, Promise<void>>()
  #eventBytes = 0
  #closed = false
  /** A namespace has started as many as it may for now. */
  #later: NodeJS.Timeout | undefined

  constructor(options: JobsOptions) {
    this.#options = options
    this.#context = {
      ...options,
      onInstance: (run, instance) => {
        this.#byInstance.set(instance, run)
        options.onInstance(instance, run.job.version)
      },
    }
  }

  /** The job is on disk when this settles; its pull begins after that. Throws `body-too-large`, `queue-full`. */
  async accept(version: Version, call: JobCall): Promise<void> {
    const { requestId, callerRequestId, body } = call
    if (body.length > MAX_JOB_EVENT_BYTES) throw eventTooLarge(body.length)
    if (this.#runs.size >= MAX_ACCEPTED || this.#eventBytes + body.length > MAX_EVENT_BYTES) throw full()
    const event = body.toString('utf8')
    const job: StoredJob = {
      requestId,
      callerRequestId,
      version,
      event,
      acceptedAtMs: Date.now(),
      instance: null,
      coldStart: null,
    }
    this.#add(job)
    try {
      await this.#options.store.put(job)
    } catch (thrown) {
      this.#forget(job)
      throw thrown
    }
    setImmediate(() => this.#pump())
  }

  /**
   * Once, at the start of a server: what an earlier one accepted. What has not begun begins, what runs goes on, what ended meanwhile gets its
   * record. `instances` is what the supervisor has.
   */
  recover(instances: readonly InstanceInfo[]): void {
    for (const job of this.#options.store.list()) this.#add(job)
    this.reconcile(instances)
    this.#pump()
  }

  /** Compares what should run with what does: after a restart of the server or of the supervisor. */
  reconcile(instances: readonly InstanceInfo[]): void {
    const known = new Map(instances.map((info) => [info.id, info]))
    for (const run of this.#runs.values()) {
      const { instance } = run.job
      if (instance === null || run.state === 'starting' || run.state === 'ended') continue
      const info = known.get(instance)
      if (info === undefined) run.end({ failure: lostJob(), exitCode: null })
      else if (info.state === 'ended') this.#endedUnseen(run, info)
      else if (run.state === 'waiting') this.#resume(run, info)
    }
  }

  /** Whether the instance is a job's. Settles when the job's record is kept: only then may the instance's traces go. */
  async exited(instance: string, exit: ExitInfo): Promise<void> {
    const run = this.#byInstance.get(instance)
    if (run === undefined) return
    run.exited(exit)
    await this.#kept.get(run)
  }

  /** Whether an instance is of a job that is not over: nobody else may touch it. */
  expects({ owner }: InstanceInfo): boolean {
    return owner.requestId !== undefined && this.#runs.has(owner.requestId)
  }

  /** Of a job that is not over: 202. */
  unfinished(requestId: string): InvocationRecord | undefined {
    return this.#runs.get(requestId)?.unfinished
  }

  /** Versions that a job runs of, or will. */
  versions(): Version[] {
    return [...this.#runs.values()].map(({ job }) => job.version)
  }

  unfinishedOf(namespace: string, name: string): InvocationRecord[] {
    return this.#of(namespace, name).map((run) => run.unfinished)
  }

  /** Ends a job: killed, or with `graceful` asked by SIGTERM and killed ten seconds later. Answers its record; undefined: no such job. */
  async cancel(requestId: string, graceful: boolean): Promise<InvocationRecord | undefined> {
    const run = this.#runs.get(requestId)
    if (run === undefined) return undefined
    await run.stop('cancel', graceful ? GRACEFUL_MS : 0)
    await this.#kept.get(run)
    return run.ended
  }

  /** The function is gone: what waits is over, what runs goes on to its end. */
  functionDeleted(namespace: string, name: string): void {
    const failure = { number: 438, message: 'the function was deleted before the job began' }
    for (const run of this.#of(namespace, name)) if (run.state === 'waiting') run.end({ failure, exitCode: null })
  }

  instances(namespace: string, name: string): InstanceView[] {
    const nowMs = Date.now()
    return this.#of(namespace, name).flatMap((run) => {
      const { instance, acceptedAtMs, version } = run.job
      if (instance === null || run.state === 'ended') return []
      return {
        id: instance,
        version: version.version,
        state: run.state === 'running' ? ('busy' as const) : ('starting' as const),
        ageMs: nowMs - acceptedAtMs,
        memoryBytes: run.memoryBytes,
        calls: 0,
        reason: `job ${run.job.requestId}`,
      }
    })
  }

  /** Answers how many instances it ended. */
  async stopInstances(namespace: string, name: string, id?: string): Promise<number> {
    const chosen = this.#of(namespace, name).filter(
      ({ state, job }) => state === 'running' && (id === undefined || job.instance === id),
    )
    await Promise.all(chosen.map((run) => run.stop('stop', 0)))
    return chosen.length
  }

  counts(): Record<'busy' | 'starting', number> {
    const counts = { busy: 0, starting: 0 }
    for (const { state } of this.#runs.values()) {
      if (state === 'running') counts.busy += 1
      if (state === 'starting') counts.starting += 1
    }
    return counts
  }

  /** This server ends; the supervisor keeps what runs, and the next server goes on. */
  close(): void {
    this.#closed = true
    for (const run of this.#runs.values()) run.leave()
  }

  #of(namespace: string, name: string): JobRun[] {
    return [...this.#runs.values()].filter(
      ({ job: { version } }) => version.namespace === namespace && version.function === name,
    )
  }

  #add(job: StoredJob): void {
    const run = new JobRun(job, this.#context)
    this.#runs.set(job.requestId, run)
    this.#eventBytes += Buffer.byteLength(job.event)
    this.#kept.set(
      run,
      run.ended.then((record) => this.#keep(job, record)),
    )
  }

  #forget(job: StoredJob): void {
    this.#runs.delete(job.requestId)
    if (job.instance !== null) this.#byInstance.delete(job.instance)
    this.#eventBytes -= Buffer.byteLength(job.event)
  }

  /** The record first, then the job is forgotten: killed in between, the next server writes the same record again. */
  async #keep(job: StoredJob, record: InvocationRecord): Promise<void> {
    while (!this.#closed) {
      try {
        await this.#options.store.finish(record)
        this.#forget(job)
        this.#options.onRecord(record)
        break
      } catch (thrown) {
        const { requestId } = job
        this.#options.logger.error({ requestId, err: messageOf(thrown) }, 'record of a job could not be kept')
        await pause(KEEP_AGAIN_MS)
      }
    }
    this.#pump()
  }

  #endedUnseen(run: JobRun, info: InstanceInfo): void {
    if (run.state === 'waiting') run.state = 'running'
    this.#context.onInstance(run, info.id)
    if (info.startedAtMs !== null) this.#options.onBegan(info.id, run.job.requestId, info.startedAtMs)
    if (info.exit === null) run.end({ failure: lostJob(), exitCode: null })
    else run.exited(info.exit, info.startedAtMs)
  }

  #resume(run: JobRun, info: InstanceInfo): void {
    // Its instance was made and the process was not begun: the same instance is found again by the name of its creation.
    if (info.startedAtMs === null) run.job.instance = null
    else run.adopt(info.id, info.startedAtMs)
  }

  #pumpLater(): void {
    if (this.#later !== undefined) return
    this.#later = setTimeout(() => {
      this.#later = undefined
      this.#pump()
    }, START_AGAIN_MS).unref()
  }

  #pump(): void {
    if (this.#closed) return
    const going = new Map<string, number>()
    let starting = 0
    for (const { state, job } of this.#runs.values()) {
      if (state === 'starting') starting += 1
      if (state === 'starting' || state === 'running') going.set(nameOf(job), (going.get(nameOf(job)) ?? 0) + 1)
    }
    for (const run of this.#runs.values()) {
      if (starting >= STARTS_AT_ONCE) return
      const busy = going.get(nameOf(run.job)) ?? 0
      if (run.state !== 'waiting' || busy >= quotaOf(run.job.version.settings)) continue
      if (!this.#context.starts.take(run.job.version)) {
        this.#pumpLater()
        continue
      }
      going.set(nameOf(run.job), busy + 1)
      starting += 1
      void run.start().finally(() => this.#pump())
    }
  }
}

function nameOf({ version }: StoredJob): string {
  return `${version.namespace}/${version.function}`
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms).unref())
}

function full(): AppError {
  return new AppError('as many jobs wait or run as the platform keeps', {
    code: 'queue-full',
    fault: 'user',
    retryable: true,
    hint: 'call again when some have ended',
  })
}
