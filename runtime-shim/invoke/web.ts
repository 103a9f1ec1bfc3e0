import type { IncomingMessage, ServerResponse } from 'node:http'
import { DEFAULT_LIMITS, type Limits, type Version } from '../../api/index.ts'
import { discardRest } from '../../common/index.ts'
import type { Slot, VersionPool } from '../instances/index.ts'
import { failureResult } from './answer.ts'
import { type CallContext, recordOf, runCall, type Tried } from './call.ts'
import { CallerAnswer } from './caller-answer.ts'
import type { Cut } from './cut.ts'
import { forwardRequestHeaders, REQUEST_ID_HEADER } from './headers.ts'
import { announcesTrailers, checkLength } from './request-body.ts'
import type { RecordSink, WebCall } from './runtime.ts'
import { WebExchange, type WebRequest } from './web-exchange.ts'

/** HTTP status for the documented numbers that end a web call before the function answered (DESIGN: table of numbers). */
export type StatusOf = (number: number) => number

/**
 * One web call, streamed both ways. A failure before the function's head is answered by us; after it the connection is cut.
 * Throws `body-too-large`, with nothing begun, when the request announces too much.
 */
export async function forwardWeb(
  context: CallContext,
  pool: VersionPool,
  version: Version,
  exchange: { request: IncomingMessage; response: ServerResponse; call: WebCall },
  sink: RecordSink,
  statusOf: StatusOf,
): Promise<void> {
  const { request, response, call } = exchange
  const limits = limitsOf(version)
  checkLength(request, limits.requestBytes)
  const caller = new AbortController()
  response.once('close', () => {
    if (!response.writableEnded) caller.abort(new Error('caller left'))
  })
  const expectsContinue = request.httpVersion === '1.1' && request.headers.expect !== undefined
  const headers = forwardRequestHeaders(request.rawHeaders, {
    remoteAddress: request.socket.remoteAddress ?? '',
    secure: 'encrypted' in request.socket,
    expect: expectsContinue,
    prefix: call.forwardedPrefix,
    platform: {},
  })
  const answer = new CallerAnswer(request, response, call.requestId, limits)
  const wanted: WebRequest = {
    request,
    head: headOf(
      request,
      call.path,
      headers,
      `${REQUEST_ID_HEADER}: ${call.requestId}\r\n${context.heads.linesOf(version)}`,
    ),
    maxRequestBytes: limits.requestBytes,
    expectsContinue,
  }
  const send = ({ instance: { id, connections } }: Slot, cut: Cut): Promise<Tried<void>> => {
    const { promise, resolve, reject } = Promise.withResolvers<Tried<void>>()
    if (connections === undefined) throw new Error(`instance ${id} has no connections`)
    const sent = new WebExchange(connections, wanted, answer, (error) =>
      error === undefined ? resolve({ kind: 'done', value: undefined }) : reject(error),
    )
    cut.onCut((reason) => sent.abort(reason))
    sent.start()
    return promise
  }
  const result = await runCall(context, pool, { requestId: call.requestId, caller: caller.signal }, send)
  const { outcome } = result
  const number = outcome.kind === 'done' ? 200 : outcome.failure.number
  if (outcome.kind === 'failed') answer.fail(failureResult(outcome.failure, call.requestId), number, statusOf(number))
  discardRest(request)
  const { requestId, callerRequestId } = call
  const message = outcome.kind === 'failed' ? outcome.failure.message : null
  sink(recordOf(version, 'web', { requestId, callerRequestId }, result, number, message))
}

export function limitsOf({ settings }: Version): Required<Limits> {
  return settings.limits === undefined ? DEFAULT_LIMITS : { ...DEFAULT_LIMITS, ...settings.limits }
}

function headOf(request: IncomingMessage, path: string, headers: readonly string[], platformLines: string): string {
  let head = `${request.method} ${path} HTTP/1.1\r\nConnection: keep-alive\r\n`
  for (let at = 0; at + 1 < headers.length; at += 2) head += `${headers[at]}: ${headers[at + 1]}\r\n`
  if (request.headers['transfer-encoding'] !== undefined) head += 'Transfer-Encoding: chunked\r\n'
  if (announcesTrailers(request)) head += `Trailer: ${request.headers.trailer}\r\n`
  return `${head}${platformLines}\r\n`
}
