import { isUtf8 } from 'node:buffer'
import type { IncomingMessage, ServerResponse } from 'node:http'
import {
  errorEntry,
  httpStatusOf,
  type InvocationRecord,
  type InvocationResult,
  NUMBERS,
  QualifierText,
  type Version,
  violationsOf,
} from '../../api/index.ts'
import { AppError, discardRest, toAppError } from '../../common/index.ts'
import type { RecordSink, Runtime } from '../../runtime-shim/index.ts'
import type { AccessControl } from '../access.ts'
import type { Snapshot } from '../store/store.ts'
import { serverTiming } from './answer.ts'
import { type ByteBudget, type HeldBody, readBody } from './body.ts'

/** Facts: scf-contract 1.8. */
const MAX_EVENT_BYTES = 6 * 1024 * 1024
const BODY_TIMEOUT_MS = 60_000

export interface EventCallDependencies {
  runtime: Runtime
  snapshot: Snapshot
  access: AccessControl
  budget: ByteBudget
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
  let result: InvocationResult
  try {
    dependencies.access.require('invoke', request.headers.authorization, target.namespace)
    const { qualifier, tail } = readQuery(target.query)
    version = findVersion(dependencies.snapshot, target, qualifier)
    body = await readEvent(dependencies.budget, request, response)
    const call = { requestId, callerRequestId, body: body.bytes, tail, signal: abortedWhenGone(response) }
    result = await dependencies.runtime.invokeEvent(version, call)
  } catch (thrown) {
    result = refused(toAppError(thrown), requestId, startedAtMs)
    // With a version the runtime was not reached: nobody else records this call. Without one, strangers would fill the store.
    if (version !== undefined) dependencies.record(recordOf(version, result, callerRequestId, startedAtMs))
  } finally {
    body?.release()
  }
  sendResult(request, response, result)
}

function readQuery(query: string): { qualifier: string; tail: boolean } {
  if (query === '') return { qualifier: '$LATEST', tail: false }
  const given = new URLSearchParams(query)
  const qualifier = given.get('qualifier') ?? '$LATEST'
  const tail = given.get('tail') ?? 'false'
  if (violationsOf(QualifierText, qualifier).length > 0 || !/^(?:true|false|1|0|)$/.test(tail)) {
    throw new AppError('qualifier must be a version or an alias, and tail true or false', {
      code: 'request-invalid',
      fault: 'user',
    })
  }
  return { qualifier, tail: tail !== 'false' && tail !== '0' }
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

async function readEvent(budget: ByteBudget, request: IncomingMessage, response: ServerResponse): Promise<HeldBody> {
  const waits = request.headers.expect !== undefined
  const onWanted = waits ? { onWanted: () => response.writeContinue() } : {}
  const body = await readBody(request, { maxBytes: MAX_EVENT_BYTES, budget, timeoutMs: BODY_TIMEOUT_MS, ...onWanted })
  if (body.bytes.length === 0) return { ...body, bytes: Buffer.from('{}') }
  if (isJson(body.bytes)) return body
  body.release()
  throw new AppError('the event is not JSON', {
    code: 'request-invalid',
    fault: 'user',
    hint: 'send one JSON value in UTF-8; a text needs quotes',
  })
}

function isJson(bytes: Buffer): boolean {
  if (!isUtf8(bytes)) return false
  try {
    JSON.parse(bytes.toString('utf8'))
    return true
  } catch {
    return false
  }
}

/** The caller's own id, kept beside ours when it is plain text of a reasonable length. */
export function callerId(request: IncomingMessage): string | null {
  const given = request.headers['x-request-id']
  return typeof given === 'string' && /^[\x21-\x7e]{1,128}$/.test(given) ? given : null
}

function abortedWhenGone(response: ServerResponse): AbortSignal {
  const controller = new AbortController()
  response.once('close', () => {
    if (!response.writableFinished) controller.abort(new Error('the caller has gone'))
  })
  return controller.signal
}

function refused(error: AppError, requestId: string, startedAtMs: number): InvocationResult {
  const statusCode = errorEntry(error.code).number ?? 500
  const { name } = NUMBERS[statusCode]
  const hint = error.hint === undefined ? '' : `; ${error.hint}`
  const errorMessage = error.code === 'internal' ? name : `${name}: ${error.message}${hint}`
  return {
    requestId,
    statusCode,
    result: { errorCode: -1, errorMessage, requestId, statusCode },
    durationMs: Date.now() - startedAtMs,
    memoryBytes: 0,
    coldStart: null,
  }
}

function recordOf(
  version: Version,
  result: InvocationResult,
  callerRequestId: string | null,
  startedAtMs: number,
): InvocationRecord {
  const { errorMessage } = result.result as { errorMessage: string }
  return {
    requestId: result.requestId,
    callerRequestId,
    namespace: version.namespace,
    function: version.function,
    version: version.version,
    kind: 'event',
    instance: null,
    startedAtMs,
    durationMs: result.durationMs,
    statusCode: result.statusCode,
    errorMessage,
    memoryBytes: 0,
    memoryLimitMb: version.settings.memory,
    coldStart: null,
  }
}

function sendResult(request: IncomingMessage, response: ServerResponse, result: InvocationResult): void {
  const status = httpStatusOf(result.statusCode)
  if (status === null || response.destroyed) {
    response.destroy()
    return
  }
  const body = JSON.stringify(result)
  const timing =
    request.headers['x-slipway-timing'] === undefined ? undefined : serverTiming(result.durationMs, result.coldStart)
  response.writeHead(status, {
    'content-type': 'application/json',
    'content-length': Buffer.byteLength(body),
    'x-request-id': result.requestId,
    'x-slipway-status': String(result.statusCode),
    ...(timing === undefined ? {} : { 'server-timing': timing }),
    ...(status === 401 ? { 'www-authenticate': 'Bearer' } : {}),
    ...(request.complete || request.headers.expect === undefined ? {} : { connection: 'close' }),
  })
  response.end(body)
  discardRest(request)
}
