import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Dispatcher } from 'undici'
import type { Version } from '../../api/index.ts'
import type { Slot, VersionPool } from '../instances/index.ts'
import { failureResult } from './answer.ts'
import { type CallContext, recordOf, runCall, type Tried } from './call.ts'
import { forwardRequestHeaders, forwardResponseHeaders, platformHeaders } from './headers.ts'
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
  const headers = forwardRequestHeaders(request.rawHeaders, {
    requestId: call.requestId,
    remoteAddress: request.socket.remoteAddress ?? '',
    prefix: call.forwardedPrefix,
    platform: platformHeaders(version, call.requestId, context.identity),
  })
  const send = (slot: Slot, signal: AbortSignal): Promise<Tried<number>> =>
    stream(slot, { request, response, headers, call }, signal)
  const result = await runCall(context, pool, call.requestId, caller.signal, send)
  const { outcome } = result
  const number = outcome.kind === 'done' ? 200 : outcome.failure.number
  if (outcome.kind === 'failed')
    answerFailure(response, failureResult(outcome.failure, call.requestId), number, statusOf(number))
  const { requestId, callerRequestId } = call
  const message = outcome.kind === 'failed' ? outcome.failure.message : null
  sink(recordOf(version, 'web', { requestId, callerRequestId }, result, number, message))
}

interface Streaming {
  request: IncomingMessage
  response: ServerResponse
  headers: string[]
  call: WebCall
}

function stream(
  slot: Slot,
  { request, response, headers, call }: Streaming,
  signal: AbortSignal,
): Promise<Tried<number>> {
  const { promise, resolve, reject } = Promise.withResolvers<Tried<number>>()
  const { connections } = slot.instance
  if (connections === undefined) return Promise.reject(new Error(`instance ${slot.instance.id} has no connections`))
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
      path: call.path,
      method: request.method ?? 'GET',
      headers,
      body: hasBody ? request : null,
      idempotent: false,
      blocking: true,
    },
    {
      onRequestStart(started) {
        controller = started
        if (signal.aborted) started.abort(signal.reason as Error)
      },
      onResponseStart(started, statusCode) {
        if (statusCode < 200) return
        response.writeHead(statusCode, forwardResponseHeaders(textHeaders(started.rawHeaders), call.requestId))
        response.flushHeaders()
      },
      onResponseData(started, chunk) {
        if (!response.write(chunk)) {
          started.pause()
          response.once('drain', () => started.resume())
        }
      },
      onResponseEnd() {
        settle()
        response.end()
        resolve({ kind: 'done', value: response.statusCode })
      },
      onResponseError(_controller, error) {
        settle()
        reject(error)
      },
    },
  )
  return promise
}

function textHeaders(raw: unknown): string[] {
  return Array.isArray(raw)
    ? raw.map((value: unknown) => (Buffer.isBuffer(value) ? value.toString('latin1') : String(value)))
    : []
}

/** After the head is out, the only honest end is a cut: the caller must not take half an answer for a whole one (runtime-contract G13). */
function answerFailure(response: ServerResponse, body: Record<string, unknown>, number: number, status: number): void {
  if (response.headersSent || number === 499) {
    response.destroy()
    return
  }
  const text = JSON.stringify(body)
  response.writeHead(status, {
    'content-type': 'application/json',
    'content-length': Buffer.byteLength(text),
    'x-slipway-status': String(number),
    'x-request-id': String(body['requestId']),
  })
  response.end(text)
}
