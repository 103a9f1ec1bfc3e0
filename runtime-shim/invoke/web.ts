import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Readable } from 'node:stream'
import type { Dispatcher } from 'undici'
import type { Version } from '../../api/index.ts'
import { discardRest } from '../../common/index.ts'
import type { Instance, Slot, VersionPool } from '../instances/index.ts'
import { failureResult } from './answer.ts'
import { type CallContext, recordOf, runCall, type Tried } from './call.ts'
import { CallerAnswer } from './caller-answer.ts'
import { bodyBegins, exchangeDirect, needsDirect } from './direct.ts'
import { forwardRequestHeaders, platformHeaders } from './headers.ts'
import type { RecordSink, WebCall } from './runtime.ts'

/** HTTP status for the documented numbers that end a web call before the function answered (DESIGN: table of numbers). */
export type StatusOf = (number: number) => number

/** One web call, streamed both ways. A failure before the function's head is answered by us; after it the connection is cut. */
export async function forwardWeb(
  context: CallContext,
  pool: VersionPool,
  version: Version,
  exchange: { request: IncomingMessage; response: ServerResponse; call: WebCall },
  sink: RecordSink,
  statusOf: StatusOf,
): Promise<void> {
  const { request, response, call } = exchange
  const caller = new AbortController()
  response.once('close', () => {
    if (!response.writableEnded) caller.abort(new Error('caller left'))
  })
  const direct = needsDirect(request, call.path)
  const headers = forwardRequestHeaders(request.rawHeaders, {
    remoteAddress: request.socket.remoteAddress ?? '',
    expect: direct && request.httpVersion === '1.1',
    prefix: call.forwardedPrefix,
    platform: platformHeaders(version, call.requestId, context.identity),
  })
  const answer = new CallerAnswer(request, response, call.requestId)
  const send = async ({ instance }: Slot, signal: AbortSignal): Promise<Tried<void>> => {
    if (direct || !(await bodyBegins(request))) {
      const { path } = call
      await exchangeDirect(await context.dial(instance.id), { request, response, headers, path }, answer, signal)
    } else {
      await exchangePooled(instance, { request, headers, path: call.path }, answer, signal)
    }
    return { kind: 'done', value: undefined }
  }
  const result = await runCall(context, pool, call.requestId, caller.signal, send)
  const { outcome } = result
  const number = outcome.kind === 'done' ? 200 : outcome.failure.number
  if (outcome.kind === 'failed') answer.fail(failureResult(outcome.failure, call.requestId), number, statusOf(number))
  discardRest(request)
  const { requestId, callerRequestId } = call
  const message = outcome.kind === 'failed' ? outcome.failure.message : null
  sink(recordOf(version, 'web', { requestId, callerRequestId }, result, number, message))
}

/** One call by undici on a pooled connection, streamed both ways. Rejects with the signal's reason or with what broke the connection. */
function exchangePooled(
  { id, connections }: Instance,
  { request, headers, path }: { request: IncomingMessage; headers: string[]; path: string },
  answer: CallerAnswer,
  signal: AbortSignal,
): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>()
  if (connections === undefined) return Promise.reject(new Error(`instance ${id} has no connections`))
  if (signal.aborted) return Promise.reject(signal.reason as Error)
  const hasBody = request.headers['content-length'] !== undefined || request.headers['transfer-encoding'] !== undefined
  let controller: Dispatcher.DispatchController | undefined
  const onAbort = (): void => {
    reject(signal.reason)
    controller?.abort(signal.reason as Error)
  }
  signal.addEventListener('abort', onAbort, { once: true })
  const settle = (): void => signal.removeEventListener('abort', onAbort)
  connections.dispatch(
    {
      path,
      method: request.method ?? 'GET',
      headers,
      body: hasBody ? bodyOf(request) : null,
      idempotent: false,
      blocking: true,
    },
    {
      onRequestStart(started) {
        controller = started
        if (signal.aborted) started.abort(signal.reason as Error)
      },
      onResponseStart(started, statusCode) {
        if (statusCode >= 200) answer.head(statusCode, textHeaders(started.rawHeaders))
      },
      onResponseData(started, chunk) {
        answer.data(chunk, started)
      },
      onResponseEnd(ended) {
        settle()
        answer.end(textHeaders(ended.rawTrailers))
        resolve()
      },
      onResponseError(_controller, error) {
        settle()
        reject(error)
      },
    },
  )
  return promise
}

/** undici destroys a body that the function did not wait for; what is left of the caller's must stay readable for its answer to arrive. */
function bodyOf(request: IncomingMessage): Readable {
  // undici takes any async iterable; its types know only the stream.
  return request.iterator({ destroyOnReturn: false }) as unknown as Readable
}

function textHeaders(raw: unknown): string[] {
  return Array.isArray(raw)
    ? raw.map((value: unknown) => (Buffer.isBuffer(value) ? value.toString('latin1') : String(value)))
    : []
}
