import type { InvocationRecord } from '../../api/index.ts'
import { toAppError } from '../../common/index.ts'
import type { HostClient } from '../host/host-client.ts'
import {
  createInstance,
  type ExitInfo,
  type LeaseFile,
  runInstance,
  STOP_GRACE_MS,
  type StartContext,
  type StartTrace,
} from '../instances/index.ts'
import {
  canceled,
  EVENT_VARIABLE,
  type JobEnd,
  type JobEnder,
  type JobStore,
  jobEnd,
  jobRecord,
  type StoredJob,
} from './job.ts'
import { startFailure } from './outcome.ts'

export interface JobRunContext extends StartContext {
  leases: LeaseFile
  store: Pick<JobStore, 'put'>
  /** The instance exists: its output is collected, and it belongs to this run. */
  onInstance: (run: JobRun, instance: string) => void
  /** Its process has begun, or was found running: lines from `sinceMs` on are the call's. */
  onBegan: (instance: string, requestId: string, sinceMs: number) => void
  onEnded: (instance: string, requestId: string) => void
}

const FIRST_LOOK_MS = 50
const LOOK_EVERY_MS = 1_000

type State = 'waiting' | 'starting' | 'running' | 'ended'

/** One accepted job: its start, its deadline, its end. Settles `ended` once, with what its record is made of. */
export class JobRun {
  readonly job: StoredJob
  state: State = 'waiting'
  readonly ended: Promise<InvocationRecord>
  readonly #context: JobRunContext
  readonly #settle: (record: InvocationRecord) => void
  #startedAtMs = 0
  #memoryBytes = 0
  #ender: JobEnder | undefined
  /** It ended before the answer that it had begun. */
  #exit: ExitInfo | undefined
  #lease: number | undefined
  #deadline: NodeJS.Timeout | undefined
  #look: NodeJS.Timeout | undefined

  constructor(job: StoredJob, context: JobRunContext) {
    const { promise, resolve } = Promise.withResolvers<InvocationRecord>()
    this.job = job
    this.ended = promise
    this.#context = context
    this.#settle = resolve
  }

  get memoryBytes(): number {
    return this.#memoryBytes
  }

  /** What is known before it has ended: 202. */
  get unfinished(): InvocationRecord {
    return this.#record(202, { failure: null, exitCode: null })
  }

  /** From the pull to the first instruction. What fails on the way is the job's end. */
  async start(): Promise<void> {
    const { job } = this
    const { settings } = job.version
    const began = Date.now()
    const deadlineMs = began + settings.initTimeout * 1_000
    const trace: StartTrace = { phases: { queue: began - job.acceptedAtMs } }
    this.state = 'starting'
    try {
      const env = { [EVENT_VARIABLE]: job.event }
      const purpose = { reason: 'job', requestId: job.requestId, env } as const
      const id = await createInstance(this.#context, job.version, purpose, deadlineMs, trace)
      job.instance = id
      job.coldStart = { totalMs: Date.now() - job.acceptedAtMs, ...trace }
      this.#context.onInstance(this, id)
      // From here on it counts as begun: it is never run twice, whatever is killed now.
      await this.#context.store.put(job)
      this.#lease = this.#context.leases.open({ instance: id, deadlineMs: Date.now() + this.#leaseMs() })
      if (this.#ender !== undefined) throw new Error('ended before it began')
      this.#tellBegan(id, Date.now())
      await runInstance(this.#context, id, trace)
      job.coldStart.totalMs = Date.now() - job.acceptedAtMs
      this.#watch()
    } catch (thrown) {
      this.#startFailed(thrown)
    }
  }

  /** Found running by a server that did not start it. */
  adopt(instance: string, startedAtMs: number): void {
    this.#context.onInstance(this, instance)
    const leftMs = startedAtMs + this.#leaseMs() - Date.now()
    if (leftMs > 0) this.#lease = this.#context.leases.open({ instance, deadlineMs: Date.now() + leftMs })
    this.#tellBegan(instance, startedAtMs)
    this.#watch()
  }

  /** Its process has ended. `startedAtMs`: as the supervisor knows it, where this server did not see the start. */
  exited(exit: ExitInfo, startedAtMs?: number | null): void {
    if (this.state === 'starting') {
      this.#exit = exit
      return
    }
    if (this.#startedAtMs === 0) this.#startedAtMs = startedAtMs ?? 0
    const { timeout } = this.job.version.settings
    const late = this.#startedAtMs > 0 && Date.now() >= this.#startedAtMs + timeout * 1_000
    // The supervisor kills what is past its deadline while no server does.
    const ender = this.#ender ?? (late && exit.code === 137 && !exit.oom ? 'deadline' : undefined)
    this.end(jobEnd(exit, ender, timeout))
  }

  /** Ends its process; `graceMs` 0 kills it. A job that waits is over at once. */
  async stop(ender: JobEnder, graceMs: number): Promise<void> {
    this.#ender ??= ender
    const { instance } = this.job
    if (this.state === 'waiting') this.end({ failure: canceled('before it began'), exitCode: null })
    else if (instance !== null && this.state === 'running')
      await this.#context.host.call('stop', { id: instance, graceMs, reason: `job: ${ender}` })
  }

  end(end: JobEnd): void {
    if (this.state === 'ended') return
    const { instance, requestId } = this.job
    this.state = 'ended'
    clearTimeout(this.#deadline)
    clearTimeout(this.#look)
    if (this.#lease !== undefined) this.#context.leases.close(this.#lease)
    if (instance !== null) this.#context.onEnded(instance, requestId)
    this.#settle(this.#record(end.failure?.number ?? 200, end))
  }

  /** This server ends; the job goes on. */
  leave(): void {
    clearTimeout(this.#deadline)
    clearTimeout(this.#look)
  }

  #tellBegan(instance: string, startedAtMs: number): void {
    this.#startedAtMs = startedAtMs
    this.#context.onBegan(instance, this.job.requestId, startedAtMs)
  }

  #watch(): void {
    this.state = 'running'
    if (this.#exit !== undefined) {
      this.exited(this.#exit)
      return
    }
    const leftMs = this.#startedAtMs + this.job.version.settings.timeout * 1_000 - Date.now()
    this.#deadline = setTimeout(() => void this.#overdue(), Math.max(0, leftMs))
    this.#lookAfter(FIRST_LOOK_MS)
    if (this.#ender !== undefined) void this.stop(this.#ender, 0).catch(() => undefined)
  }

  async #overdue(): Promise<void> {
    await this.stop('deadline', STOP_GRACE_MS).catch(() => {
      this.#deadline = setTimeout(() => void this.#overdue(), LOOK_EVERY_MS)
    })
  }

  /** Its memory is known only while it runs, so it is looked at now and then. */
  #lookAfter(ms: number): void {
    this.#look = setTimeout(() => {
      const { instance } = this.job
      if (instance === null) return
      this.#context.host
        .call('stats', { id: instance }, AbortSignal.timeout(LOOK_EVERY_MS))
        .then(({ memoryPeakBytes }) => {
          this.#memoryBytes = memoryPeakBytes
        })
        .catch(() => undefined)
        .finally(() => {
          if (this.state === 'running') this.#lookAfter(Math.min(LOOK_EVERY_MS, ms * 2))
        })
    }, ms)
  }

  #startFailed(thrown: unknown): void {
    const { instance } = this.job
    const wasBegun = this.#exit !== undefined && toAppError(thrown).code === 'instance-exited'
    if (wasBegun) this.#watch()
    else
      this.end({
        failure: this.#ender === undefined ? startFailure(thrown) : canceled('before it began'),
        exitCode: null,
      })
    if (instance !== null && !wasBegun) stopQuietly(this.#context.host, instance)
  }

  /** The supervisor's own deadline lies behind ours and its grace. */
  #leaseMs(): number {
    return this.job.version.settings.timeout * 1_000 + STOP_GRACE_MS
  }

  #record(statusCode: number, end: JobEnd): InvocationRecord {
    const startedAtMs = this.#startedAtMs === 0 ? this.job.acceptedAtMs : this.#startedAtMs
    const durationMs = this.#startedAtMs === 0 ? 0 : Date.now() - startedAtMs
    return jobRecord(this.job, statusCode, end, { startedAtMs, durationMs, memoryBytes: this.#memoryBytes })
  }
}

/** What cannot be stopped now, the next reconciliation finds. */
function stopQuietly(host: HostClient, id: string): void {
  host.call('stop', { id, graceMs: 0, reason: 'the job did not start' }).catch(() => undefined)
}
