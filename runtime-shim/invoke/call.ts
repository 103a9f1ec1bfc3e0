import type { Socket } from 'node:net'
import type { ColdStart, InvocationRecord, Version } from '../../api/index.ts'
import { AppError, errnoOf, toAppError } from '../../common/index.ts'
import {
  coldStartIn,
  type InstallationIdentity,
  type Instance,
  isUnsent,
  type LeaseFile,
  type Slot,
  type VersionPool,
  whyUnusable,
} from '../instances/index.ts'
import { Cut, type Deadlines } from './cut.ts'
import type { EventHeads } from './event-head.ts'
import {
  brokenConnection,
  type Failure,
  outOfMemory,
  ownFault,
  refusedAnswer,
  startFailure,
  timeLimit,
} from './outcome.ts'

export interface CallContext {
  leases: LeaseFile
  deadlines: Deadlines
  heads: EventHeads
  identity: InstallationIdentity
  /** Attribution of output: told before the first byte is sent and after the end. */
  onCall: (event: 'started' | 'ended', instance: string, requestId: string) => void
  /** Looks at the instance's memory again when the last look is old; undefined: it is not. */
  refreshStats: (instance: Instance) => Promise<void> | undefined
  /** A connection of its own into an instance, outside its pool. Throws `dial-failed`. */
  dial: (instance: string) => Promise<Socket>
  /** Whether the kernel has killed a process of the instance for memory; asked only when a call fails. */
  ranOutOfMemory: (instance: Instance) => Promise<boolean>
  /** Told of a call that failed for a fault of ours. */
  onDefect: (thrown: unknown, requestId: string) => void
}

export interface WantedCall {
  requestId: string
  /** Aborts when the call is to end because its caller has gone. */
  caller: AbortSignal | null
  /** Begun when the call is among the next to be served. What it rejects with is thrown. */
  prepare?: (() => Promise<void>) | undefined
}

/** How one try on one instance ended. */
export type Tried<T> = { kind: 'done'; value: T; recycle?: string } | { kind: 'failed'; failure: Failure }

export interface CallResult<T> {
  outcome: Tried<T>
  instance: Instance | undefined
  coldStart: ColdStart | null
  queueMs?: number
  durationMs: number
  startedAtMs: number
}

/** No connection stood: `recycle` says why the instance is of no more use, if it is so. */
interface Unsent {
  kind: 'unsent'
  recycle: string | undefined
}

/** A warm instance may turn out to be gone before a byte was sent: then another one is tried, this often. */
const MAX_TRIES = 3
/** A broken connection is told before the exit of the process that broke it: a moment on runc, above 250 ms by a busy Docker Engine. */
const EXIT_WAIT_MS = 1_000

/**
 * One call from slot to slot: acquire, lease, send, and give back. Only what failed before a byte was sent is tried again.
 * `send` runs the call on the instance; it is cut at the deadline (execution timeout) or when `caller` aborts.
 */
export async function runCall<T>(
  context: CallContext,
  pool: VersionPool,
  wanted: WantedCall,
  send: (slot: Slot, cut: Cut) => Promise<Tried<T>>,
): Promise<CallResult<T>> {
  const { requestId, caller } = wanted
  const startedAtMs = Date.now()
  let prepare = wanted.prepare === undefined ? undefined : new Preparation(wanted.prepare)
  for (let tries = 1; ; tries += 1) {
    let slot: Slot
    try {
      const free = prepare === undefined ? pool.takeFree() : undefined
      slot = free ?? (await pool.acquire(patience(pool, caller), prepare?.run))
      prepare = undefined
    } catch (thrown) {
      // The request is at fault then, which is for whoever read it to tell.
      if (prepare?.failure === thrown && caller?.aborted !== true) throw thrown
      const failure = caller?.aborted === true ? gone() : startFailure(asQueueTimeout(thrown))
      const coldStart = coldStartIn(thrown)
      return { outcome: { kind: 'failed', failure }, instance: undefined, coldStart, durationMs: 0, startedAtMs }
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

/** Remembers how it failed. */
class Preparation {
  failure: unknown
  readonly run: () => Promise<void>

  constructor(prepare: () => Promise<void>) {
    this.run = async () => {
      try {
        await prepare()
      } catch (thrown) {
        this.failure = thrown
        throw thrown
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
  send: (slot: Slot, cut: Cut) => Promise<Tried<T>>,
): Promise<CallResult<T> | 'unsent'> {
  const { instance, coldStart } = slot
  const { timeout } = pool.version.settings
  const began = performance.now()
  const startedAtMs = Date.now()
  let lease: number
  try {
    lease = context.leases.open({ instance: instance.id, deadlineMs: startedAtMs + timeout * 1_000 })
  } catch (thrown) {
    pool.release(instance)
    const outcome: Tried<T> = { kind: 'failed', failure: startFailure(thrown) }
    return { outcome, instance, coldStart, durationMs: 0, startedAtMs }
  }
  context.onCall('started', instance.id, requestId)
  const cut = new Cut(began + timeout * 1_000)
  context.deadlines.add(cut)
  const stopListening = caller === null ? undefined : cutWhenGone(cut, caller)
  let outcome: Tried<T> | Unsent
  try {
    outcome = await send(slot, cut)
  } catch (thrown) {
    outcome = await failureOf(thrown, instance, timeout, caller)
    if (outcome.kind === 'failed' && outcome.failure.number === 500) context.onDefect(thrown, requestId)
  }
  if (outcome.kind === 'failed' && outcome.failure.number === 430) {
    // What failed may have failed for a child of it that was killed: then it goes on no more.
    if (await context.ranOutOfMemory(instance)) outcome = { kind: 'failed', failure: outOfMemory() }
  }
  context.deadlines.delete(cut)
  stopListening?.()
  const durationMs = performance.now() - began
  context.onCall('ended', instance.id, requestId)
  const refreshed = outcome.kind === 'done' ? context.refreshStats(instance) : undefined
  if (refreshed !== undefined) await refreshed
  context.leases.close(lease)
  pool.release(instance, recycleReason(outcome, pool.version))
  if (outcome.kind === 'unsent') return 'unsent'
  const { queueMs } = slot
  return { outcome, instance, coldStart, durationMs, startedAtMs, ...(queueMs === undefined ? {} : { queueMs }) }
}

/** Answers how to stop listening. */
function cutWhenGone(cut: Cut, caller: AbortSignal): () => void {
  const leave = (): void => cut.cut(caller.reason as Error)
  if (caller.aborted) leave()
  caller.addEventListener('abort', leave)
  return () => caller.removeEventListener('abort', leave)
}

async function failureOf<T>(
  thrown: unknown,
  instance: Instance,
  timeoutSeconds: number,
  caller: AbortSignal | null,
): Promise<Tried<T> | Unsent> {
  if (isUnsent(thrown)) return { kind: 'unsent', recycle: whyUnusable(thrown) }
  const { code } = toAppError(thrown)
  if (code === 'deadline-reached') return { kind: 'failed', failure: timeLimit(timeoutSeconds) }
  if (hasLeft(caller)) return { kind: 'failed', failure: gone() }
  if (OWN_CODES.has(code)) return { kind: 'failed', failure: refusedAnswer(toAppError(thrown)) }
  const exit = await instance.exitWithin(EXIT_WAIT_MS)
  // A caller that leaves within its body is seen as a broken body first.
  if (exit === undefined && hasLeft(caller)) return { kind: 'failed', failure: gone() }
  if (exit === undefined && !isBroken(thrown)) return { kind: 'failed', failure: ownFault() }
  return { kind: 'failed', failure: brokenConnection(exit, thrown) }
}

/** What a call is refused for by ourselves, in its midst. */
const OWN_CODES = new Set(['answer-too-large', 'answer-malformed', 'body-too-large', 'overloaded'])

/** Codes of the system and of the HTTP parser for a connection that ended or was not understood; whatever else is a fault of ours. */
function isBroken(thrown: unknown): boolean {
  return /^(?:E(?!RR_)[A-Z0-9]+$|HPE_|ERR_STREAM_PREMATURE_CLOSE$)/.test(errnoOf(thrown) ?? '')
}

function hasLeft(caller: AbortSignal | null): boolean {
  return caller?.aborted === true
}

/** Time limit, a broken connection of a process that lives on. */
const OWN_END = new Set([430, 433])

/** With concurrency above 1 a call that ends early resets only its own request; the instance goes on for the others (scf-contract 1.10). */
function recycleReason<T>(outcome: Tried<T> | Unsent, version: Version): string | undefined {
  if (outcome.kind !== 'failed') return outcome.recycle
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
    requestId: ids.requestId,
    callerRequestId: ids.callerRequestId,
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
    ...(result.queueMs === undefined ? {} : { queueMs: result.queueMs }),
  }
}
