import type { IncomingMessage, ServerResponse } from 'node:http'
import {
  errorEntry,
  httpStatusOf,
  type InvocationRecord,
  NUMBERS,
  QualifierText,
  type Version,
  violationsOf,
} from '../../api/index.ts'
import { AppError, discardRest, toAppError } from '../../common/index.ts'
import type { EventResult, RecordSink, Runtime } from '../../runtime-shim/index.ts'
import type { AccessControl } from '../access.ts'
import type { Snapshot } from '../store/store.ts'
import { serverTiming } from './answer.ts'
import { type ByteBudget, HeldBody, readBody } from './body.ts'
import type { JsonCheck } from './json-check.ts'

/** Facts: scf-contract 1.8. */
const MAX_EVENT_BYTES = 6 * 1024 * 1024
const BODY_TIMEOUT_MS = 60_000
/** An empty body is an empty object. */
const NO_EVENT = Buffer.from('{}')

export interface EventCallDependencies {
  runtime: Runtime
  snapshot: Snapshot
  access: AccessControl
  budget: ByteBudget
  jsonCheck: JsonCheck
  record: RecordSink
}

export interface EventTarget {
  namespace: string
  name: string
  query: string
}

/**
 * `POST /v1/namespaces/NAMESPACE/functions/NAME/invocations`: one call of an event function. Whatever happens, the answer is an
 * InvocationResult with the documented number; the HTTP status follows the number.
 */
export async function answerEventCall(
  dependencies: EventCallDependencies,
  request: IncomingMessage,
  response: ServerResponse,
  target: EventTarget,
  requestId: string,
): Promise<void> {
  const startedAtMs = Date.now()
  const callerRequestId = callerId(request)
  let version: Version | undefined
  let body: HeldBody | undefined
  const answer = new HeldBody(dependencies.budget)
  let result: EventResult
  try {
    dependencies.access.require('invoke', request.headers.authorization, target.namespace)
    const { qualifier, tail, cancel } = readQuery(target.query)
    version = findVersion(dependencies.snapshot, target, qualifier)
    const reading = { dependencies, request, response, body: (body = new HeldBody(dependencies.budget)) }
    const isJob = version.settings.type === 'job'
    if (isJob || readsAtOnce(request)) await readEvent(reading)
    const ids = { requestId, callerRequestId }
    if (isJob) result = await acceptJob(dependencies.runtime, version, { ...ids, body: body.bytes }, startedAtMs)
    else {
      const caller = cancel ? abortedWhenGone(response) : null
      const event = readsAtOnce(request) ? body.bytes : () => readEvent(reading)
      const hold = (bytes: number): boolean => answer.hold(bytes)
      result = await dependencies.runtime.invokeEvent(version, { ...ids, body: event, tail, hold, caller })
    }
  } catch (thrown) {
    result = refused(toAppError(thrown), requestId, startedAtMs)
    // With a version the runtime was not reached: nobody else records this call. Without one, strangers would fill the store.
    if (version !== undefined) dependencies.record(recordOf(version, result, callerRequestId, startedAtMs))
  }
  body?.release()
  sendResult(request, response, result)
  releaseWhenSent(response, answer)
}

/** The answer says that it was accepted and will run; what became of it, its record says (facts: scf-contract 2). */
async function acceptJob(
  runtime: Runtime,
  version: Version,
  job: Parameters<Runtime['acceptJob']>[1],
  startedAtMs: number,
): Promise<EventResult> {
  await runtime.acceptJob(version, job)
  const { requestId } = job
  const durationMs = Date.now() - startedAtMs
  const info = { requestId, statusCode: 200, accepted: true, durationMs, memoryBytes: 0, coldStart: null } as const
  return { info, resultJson: 'null' }
}

function abortedWhenGone(response: ServerResponse): AbortSignal {
  const controller = new AbortController()
  response.once('close', () => {
    if (!response.writableFinished) controller.abort(new Error('the caller has gone'))
  })
  return controller.signal
}

interface CallQuery {
  qualifier: string
  tail: boolean
  /** The call ends when its caller goes. */
  cancel: boolean
}

const FLAG = /^(?:true|false|1|0|)$/
const NO_QUERY: CallQuery = { qualifier: '$LATEST', tail: false, cancel: false }

function readQuery(query: string): CallQuery {
  if (query === '') return NO_QUERY
  const given = new URLSearchParams(query)
  const qualifier = given.get('qualifier') ?? '$LATEST'
  const tail = given.get('tail') ?? 'false'
  const cancel = given.get('cancel') ?? 'false'
  if (violationsOf(QualifierText, qualifier).length > 0 || !FLAG.test(tail) || !FLAG.test(cancel)) {
    throw new AppError('qualifier must be a version or an alias, tail and cancel true or false', {
      code: 'request-invalid',
      fault: 'user',
    })
  }
  const isSet = (text: string): boolean => text !== 'false' && text !== '0'
  return { qualifier, tail: isSet(tail), cancel: isSet(cancel) }
}

function findVersion(snapshot: Snapshot, { namespace, name }: EventTarget, qualifier: string): Version {
  const version = snapshot.function(namespace, name)
  if (version === undefined) {
    throw new AppError(`there is no function ${name} in namespace ${namespace}`, {
      code: 'function-not-found',
      fault: 'user',
      hint: 'see those there are: slipway list',
    })
  }
  // $DEFAULT is on $LATEST until it is routed elsewhere (facts: scf-contract 6).
  if (qualifier !== '$LATEST' && qualifier !== '$DEFAULT') {
    throw new AppError(`function ${namespace}/${name} has no version or alias ${qualifier}`, {
      code: 'qualifier-not-found',
      fault: 'user',
    })
  }
  if (version.settings.type === 'web') {
    throw new AppError(`function ${namespace}/${name} is a web function: it takes web calls, not events`, {
      code: 'function-type',
      fault: 'user',
      hint: `call its url instead: slipway get ${name}`,
    })
  }
  return version
}

/** Read at once; a larger body stays unread while its call waits behind others. */
const SMALL_BODY_BYTES = 64 * 1024

function readsAtOnce({ headers }: IncomingMessage): boolean {
  const announced = Number(headers['content-length'] ?? 0)
  // What is too large is refused before anything is started for it.
  return headers['transfer-encoding'] === undefined && (announced <= SMALL_BODY_BYTES || announced > MAX_EVENT_BYTES)
}

interface Reading {
  dependencies: EventCallDependencies
  request: IncomingMessage
  response: ServerResponse
  body: HeldBody
}

/** Reads the event, checks that it is one, and answers it; what it holds is given back with the body. */
async function readEvent({ dependencies, request, response, body }: Reading): Promise<Buffer> {
  const waits = request.headers.expect !== undefined
  const onWanted = waits ? { onWanted: () => response.writeContinue() } : {}
  await readBody(request, body, { maxBytes: MAX_EVENT_BYTES, timeoutMs: BODY_TIMEOUT_MS, ...onWanted })
  if (body.bytes.length === 0) body.bytes = NO_EVENT
  const isJson = dependencies.jsonCheck.isJson(body.bytes)
  if (isJson === true || (await isJson)) return body.bytes
  throw new AppError('the event is not JSON', {
    code: 'request-invalid',
    fault: 'user',
    hint: 'send one JSON value in UTF-8; a text needs quotes',
  })
}

/** The caller's own id, kept beside ours when it is plain text of a reasonable length. */
export function callerId(request: IncomingMessage): string | null {
  const given = request.headers['x-request-id']
  return typeof given === 'string' && /^[\x21-\x7e]{1,128}$/.test(given) ? given : null
}

/** A slow caller's answer takes its room until the kernel has it. */
function releaseWhenSent(response: ServerResponse, answer: HeldBody): void {
  if (response.destroyed || response.writableLength === 0) answer.release()
  else response.once('close', () => answer.release())
}

function refused(error: AppError, requestId: string, startedAtMs: number): EventResult {
  const statusCode = errorEntry(error.code).number ?? 500
  const { name } = NUMBERS[statusCode]
  const hint = error.hint === undefined ? '' : `; ${error.hint}`
  const errorMessage = error.code === 'internal' ? name : `${name}: ${error.message}${hint}`
  return {
    info: { requestId, statusCode, durationMs: Date.now() - startedAtMs, memoryBytes: 0, coldStart: null },
    resultJson: JSON.stringify({ errorCode: -1, errorMessage, requestId, statusCode }),
  }
}

function recordOf(
  version: Version,
  { info, resultJson }: EventResult,
  callerRequestId: string | null,
  startedAtMs: number,
): InvocationRecord {
  const { errorMessage } = JSON.parse(resultJson) as { errorMessage: string }
  return {
    requestId: info.requestId,
    callerRequestId,
    namespace: version.namespace,
    function: version.function,
    version: version.version,
    kind: version.settings.type === 'job' ? 'job' : 'event',
    instance: null,
    startedAtMs,
    durationMs: info.durationMs,
    statusCode: info.statusCode,
    errorMessage,
    memoryBytes: 0,
    memoryLimitMb: version.settings.memory,
    coldStart: null,
  }
}

function sendResult(request: IncomingMessage, response: ServerResponse, { info, resultJson }: EventResult): void {
  const status = httpStatusOf(info.statusCode)
  if (status === null || response.destroyed) {
    response.destroy()
    return
  }
  const body = `${JSON.stringify(info).slice(0, -1)},"result":${resultJson}}`
  const headers = [
    'Content-Type',
    'application/json',
    'Content-Length',
    String(Buffer.byteLength(body)),
    'X-Request-Id',
    info.requestId,
    'X-Slipway-Status',
    String(info.statusCode),
  ]
  if (request.headers['x-slipway-timing'] !== undefined)
    headers.push('Server-Timing', serverTiming(info.durationMs, info.coldStart))
  if (status === 401) headers.push('WWW-Authenticate', 'Bearer')
  if (!request.complete && request.headers.expect !== undefined) headers.push('Connection', 'close')
  response.writeHead(status, headers)
  response.end(body)
  discardRest(request)
}
