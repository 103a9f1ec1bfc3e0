import type { ColdStart, InvocationRecord, Version } from '../../api/index.ts'
import { AppError } from '../../common/index.ts'
import type { ExitInfo } from '../instances/index.ts'
import { type Failure, outOfMemory, timeLimit } from './outcome.ts'

/** What a job's process finds its event in (facts: scf-contract 2). */
export const EVENT_VARIABLE = 'SCF_CUSTOM_CONTAINER_EVENT'

/** execve(2): one string of the environment, `NAME=VALUE` and the NUL behind it, has at most 32 pages (MAX_ARG_STRLEN). */
const MAX_VARIABLE_BYTES = 32 * 4_096
export const MAX_JOB_EVENT_BYTES = MAX_VARIABLE_BYTES - `${EVENT_VARIABLE}=\0`.length

/** A job from its acceptance to its record, as it is kept on disk. */
export interface StoredJob {
  requestId: string
  callerRequestId: string | null
  /** As it was when the job was accepted: a later deploy does not change it. */
  version: Version
  event: string
  acceptedAtMs: number
  /** Written down before its process begins; null: it has not run. */
  instance: string | null
  coldStart: ColdStart | null
}

/** Where accepted jobs are kept until their record is. */
export interface JobStore {
  list(): StoredJob[]
  /** Durable when it settles. */
  put(job: StoredJob): Promise<void>
  /** Keeps the record, durably, then forgets the job. */
  finish(record: InvocationRecord): Promise<void>
}

/** Who ended a job before it ended itself. */
export type JobEnder = 'deadline' | 'cancel' | 'stop'

/** The end of a job: a number, and what became of the process where there was one. */
export interface JobEnd {
  failure: Failure | null
  exitCode: number | null
}

const SIGKILL_CODE = 137

/** What a job's record says, by its exit and by who ended it (exit 0 is 200, any other 439). */
export function jobEnd(exit: ExitInfo, ender: JobEnder | undefined, timeoutSeconds: number): JobEnd {
  const { code } = exit
  if (ender === 'deadline') return { failure: timeLimit(timeoutSeconds), exitCode: code }
  if (exit.oom) return { failure: outOfMemory(), exitCode: code }
  if (ender === 'cancel' && code === SIGKILL_CODE) return { failure: canceled('by request'), exitCode: code }
  if (ender === 'stop') return { failure: canceled('with its instance, by request'), exitCode: code }
  if (code === 0) return { failure: null, exitCode: 0 }
  return { failure: { number: 439, message: `User process exit when running: code ${code}` }, exitCode: code }
}

export function canceled(how: string): Failure {
  return { number: 499, message: `the job was ended ${how}` }
}

/** Its process may have run, and nothing tells how it ended: it is not run again. */
export function lostJob(): Failure {
  const message =
    'the instance of the job is gone and its exit is not known: the platform or the machine was stopped while it ran'
  return { number: 500, message }
}

export function eventTooLarge(bytes: number): AppError {
  return new AppError(
    `the event has ${bytes} bytes; a job finds it in the variable ${EVENT_VARIABLE}, which takes ${MAX_JOB_EVENT_BYTES}`,
    {
      code: 'body-too-large',
      fault: 'user',
      hint: 'put the data where the job can fetch it, and give its name in the event',
    },
  )
}

export interface JobTimes {
  startedAtMs: number
  durationMs: number
  memoryBytes: number
}

export function jobRecord(job: StoredJob, statusCode: number, end: JobEnd, times: JobTimes): InvocationRecord {
  const { version, requestId, callerRequestId, instance, coldStart } = job
  return {
    requestId,
    callerRequestId,
    namespace: version.namespace,
    function: version.function,
    version: version.version,
    kind: 'job',
    instance,
    ...times,
    statusCode,
    errorMessage: end.failure?.message.slice(0, 4_096) ?? null,
    ...(end.exitCode === null ? {} : { exitCode: end.exitCode }),
    memoryLimitMb: version.settings.memory,
    coldStart,
  }
}
