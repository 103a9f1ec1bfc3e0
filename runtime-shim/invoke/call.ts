import type { Socket } from 'node:net'
import type { ColdStart, InvocationRecord, Version } from '../../api/index.ts'
import { AppError, toAppError } from '../../common/index.ts'
import {
  type InstallationIdentity,
  type Instance,
  isUnsent,
  type LeaseFile,
  type Slot,
  type VersionPool,
} from '../instances/index.ts'
import { brokenConnection, deadlineReached, type Failure, startFailure, timeLimit } from './outcome.ts'

export interface CallContext {
  leases: LeaseFile
  identity: InstallationIdentity
  /** Attribution of output: told before the first byte is sent and after the end. */
  onCall: (event: 'started' | 'ended', instance: string, requestId: string) => void
  refreshStats: (instance: Instance) => Promise<void>
  /** A connection of its own into an instance, outside its pool. Throws `dial-failed`. */
  dial: (instance: string) => Promise<Socket>
}

/** How one try on one instance ended. */
export type Tried<T> = { kind: 'done'; value: T; recycle?: string } | { kind: 'failed'; failure: Failure }

export interface CallResult<T> {
  outcome: Tried<T>
  instance: Instance | undefined
  coldStart: ColdStart | null
  durationMs: number
  startedAtMs: number
}

/** A warm instance may turn out to be gone before a byte was sent: then another one is tried, this often. */
const MAX_TRIES = 3
/** A broken connection is told a moment before the exit of the process that broke it. */
const EXIT_WAIT_MS = 250

/**
 * One call from slot to slot: acquire, lease, send, and give back. Only what failed before a byte was sent is tried again.
 * `send` runs the call on the instance; its signal aborts at the deadline (execution timeout) or when `caller` aborts.
 */
export async function runCall<T>(
  context: CallContext,
  pool: VersionPool,
  requestId: string,
  caller: AbortSignal | null,
  send: (slot: Slot, signal: AbortSignal) => Promise<Tried<T>>,
): Promise<CallResult<T>> {
  const startedAtMs = Date.now()
  for (let tries = 1; ; tries += 1) {
    let slot: Slot
    try {
      slot = pool.takeFree() ?? (await pool.acquire(patience(pool, caller)))
    } catch (thrown) {
      const failure = caller?.aborted === true ? gone() : startFailure(asQueueTimeout(thrown))
      return { outcome: { kind: 'failed', failure }, instance: undefined, coldStart: null, durationMs: 0, startedAtMs }
    }
    const result = await runOn(context, pool, slot, requestId, caller, send)
    if (result !== 'unsent') return result
    if (tries >= MAX_TRIES) {
      const failure: Failure = { number: 500, message: 'no instance took the connection' }
      return {
        outcome: { kind: 'failed', failure },
        instance: slot.instance,
        coldStart: null,
        durationMs: 0,
        startedAtMs,
      }
    }
  }
}

/** For a call that has to wait. Others do without: each signal is a timer and weak references that the collector meets for minutes. */
function patience(pool: VersionPool, caller: AbortSignal | null): AbortSignal {
  const late = AbortSignal.timeout((pool.version.settings.initTimeout + 30) * 1_000)
  return caller === null ? late : AbortSignal.any([late, caller])
}

async function runOn<T>(
  context: CallContext,
  pool: VersionPool,
  slot: Slot,
  requestId: string,
  caller: AbortSignal | null,
  send: (slot: Slot, signal: AbortSignal) => Promise<Tried<T>>,
): Promise<CallResult<T> | 'unsent'> {
  const { instance, coldStart } = slot
  const { timeout } = pool.version.settings
  const began = performance.now()
  const startedAtMs = Date.now()
  const deadline = new AbortController()
  const timer = setTimeout(() => deadline.abort(deadlineReached()), timeout * 1_000)
  let lease: number
  try {
    lease = context.leases.open({ instance: instance.id, deadlineMs: startedAtMs + timeout * 1_000 })
  } catch (thrown) {
    clearTimeout(timer)
    pool.release(instance)
    const outcome: Tried<T> = { kind: 'failed', failure: startFailure(thrown) }
    return { outcome, instance, coldStart, durationMs: 0, startedAtMs }
  }
  context.onCall('started', instance.id, requestId)
  let outcome: Tried<T> | 'unsent'
  try {
    const signal = caller === null ? deadline.signal : AbortSignal.any([deadline.signal, caller])
    outcome = await send(slot, signal)
  } catch (thrown) {
    outcome = await failureOf(thrown, instance, timeout, caller)
  } finally {
    clearTimeout(timer)
  }
  const durationMs = performance.now() - began
  context.onCall('ended', instance.id, requestId)
  if (outcome !== 'unsent' && outcome.kind === 'done') await context.refreshStats(instance)
  context.leases.close(lease)
  pool.release(instance, recycleReason(outcome, pool.version))
  if (outcome === 'unsent') return 'unsent'
  return { outcome, instance, coldStart, durationMs, startedAtMs }
}

async function failureOf<T>(
  thrown: unknown,
  instance: Instance,
  timeoutSeconds: number,
  caller: AbortSignal | null,
): Promise<Tried<T> | 'unsent'> {
  if (isUnsent(thrown)) return 'unsent'
  const { code } = toAppError(thrown)
  if (code === 'deadline-reached') return { kind: 'failed', failure: timeLimit(timeoutSeconds) }
  if (hasLeft(caller)) return { kind: 'failed', failure: gone() }
  if (code === 'answer-too-large')
    return { kind: 'failed', failure: { number: 407, message: toAppError(thrown).message } }
  const exit = await instance.exitWithin(EXIT_WAIT_MS)
  // A caller that leaves within its body is seen as a broken body first.
  if (exit === undefined && hasLeft(caller)) return { kind: 'failed', failure: gone() }
  return { kind: 'failed', failure: brokenConnection(exit, thrown) }
}

function hasLeft(caller: AbortSignal | null): boolean {
  return caller?.aborted === true
}

/** Time limit, a broken connection of a process that lives on. */
const OWN_END = new Set([430, 433])

/** With concurrency above 1 a call that ends early resets only its own request; the instance goes on for the others (scf-contract 1.10). */
function recycleReason<T>(outcome: Tried<T> | 'unsent', version: Version): string | undefined {
  if (outcome === 'unsent') return 'took no connection'
  if (outcome.kind === 'done') return outcome.recycle
  const { failure } = outcome
  return OWN_END.has(failure.number) && version.settings.concurrency > 1 ? undefined : failure.recycle
}

/** The function's side of the connection is closed (runtime-contract G12), as by any HTTP server; the instance stays. */
function gone(): Failure {
  return { number: 499, message: 'the caller closed the connection' }
}

function asQueueTimeout(thrown: unknown): unknown {
  if (!(thrown instanceof DOMException) || thrown.name !== 'TimeoutError') return thrown
  return new AppError('no instance became free in time', {
    code: 'queue-full',
    fault: 'user',
    retryable: true,
    cause: thrown,
  })
}

/** What is kept of a call. */
export function recordOf<T>(
  version: Version,
  kind: InvocationRecord['kind'],
  ids: { requestId: string; callerRequestId: string | null },
  result: CallResult<T>,
  statusCode: number,
  errorMessage: string | null,
): InvocationRecord {
  return {
    ...ids,
    namespace: version.namespace,
    function: version.function,
    version: version.version,
    kind,
    instance: result.instance?.id ?? null,
    startedAtMs: result.startedAtMs,
    durationMs: Math.round(result.durationMs * 1_000) / 1_000,
    statusCode,
    errorMessage: errorMessage === null ? null : errorMessage.slice(0, 4_096),
    memoryBytes: result.instance?.memoryBytes ?? 0,
    memoryLimitMb: version.settings.memory,
    coldStart: result.coldStart,
  }
}
