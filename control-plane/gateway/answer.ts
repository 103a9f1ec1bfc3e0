import { type IncomingMessage, type ServerResponse, STATUS_CODES } from 'node:http'
import type { Duplex } from 'node:stream'
import { type ColdStart, errorEntry, toProblem } from '../../api/index.ts'
import { type AppError, discardRest } from '../../common/index.ts'

/** Answers an error as problem+json and forgets the rest of the request. */
export function answerProblem(
  request: IncomingMessage,
  response: ServerResponse,
  error: AppError,
  requestId: string,
  status = errorEntry(error.code).status,
): void {
  if (response.headersSent || response.destroyed) {
    response.destroy()
    return
  }
  const { number } = errorEntry(error.code)
  const body = Buffer.from(JSON.stringify({ ...toProblem(error, requestId), status }))
  response.writeHead(status, {
    'content-type': 'application/problem+json',
    'content-length': body.length,
    'x-request-id': requestId,
    ...(number === undefined ? {} : { 'x-slipway-status': String(number) }),
    ...(status === 401 ? { 'www-authenticate': 'Bearer' } : {}),
    // A caller that was not told to continue may send its body or not: only a new connection is certain.
    ...(request.headers.expect === undefined || request.complete ? {} : { connection: 'close' }),
  })
  response.end(body)
  discardRest(request)
}

/** So long is thrown away what a caller still sends behind its refusal. */
const LINGER_MS = 1_000

/** The same on a bare socket: for upgrades and for what is no request. The connection ends. `method` as far as it is known. */
export function refuseSocket(
  socket: Duplex,
  error: AppError,
  requestId: string,
  status = errorEntry(error.code).status,
  method?: string,
): void {
  if (!socket.writable) {
    socket.destroy()
    return
  }
  const body = JSON.stringify({ ...toProblem(error, requestId), status })
  socket.end(
    `HTTP/1.1 ${status} ${STATUS_CODES[status] ?? ''}\r\ncontent-type: application/problem+json\r\n` +
      `content-length: ${Buffer.byteLength(body)}\r\nx-request-id: ${requestId}\r\nconnection: close\r\n\r\n` +
      (method === 'HEAD' ? '' : body),
  )
  linger(socket)
}

/** RFC 9112 9.6: closed while the caller still sends, a connection is reset and the answer lost with it. */
function linger(socket: Duplex): void {
  const destroy = (): void => void socket.destroy()
  const timer = setTimeout(destroy, LINGER_MS)
  socket.once('close', () => clearTimeout(timer))
  if (socket.readableEnded) socket.once('finish', destroy)
  else socket.once('end', destroy).resume()
}

/** `Server-Timing` (W3C): the phases of the cold start and the whole, in ms. */
export function serverTiming(durationMs: number, coldStart: ColdStart | null): string {
  const phases = Object.entries(coldStart?.phases ?? {}).map(([name, ms]) => `${name};dur=${ms.toFixed(1)}`)
  if (coldStart !== null) phases.push(`coldstart;dur=${coldStart.totalMs.toFixed(1)}`)
  return [...phases, `function;dur=${durationMs.toFixed(1)}`].join(', ')
}
