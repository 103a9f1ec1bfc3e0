import { type ClientRequest, request as httpRequest, type IncomingMessage, type ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import type { CallerAnswer } from './caller-answer.ts'
import { forwardTrailers } from './headers.ts'

/** A caller that expects 100 is told to go on after so long, whatever the function does (RFC 9110 10.1.1: it need not wait for ever). */
const CONTINUE_AFTER_MS = 1_000

/** A body that has not begun after so long is waited for by the function, not by us. */
const FIRST_BYTES_MS = 20

export interface DirectCall {
  request: IncomingMessage
  response: ServerResponse
  headers: string[]
  path: string
}

/** Requests that undici does not send: with `Expect`, with announced trailers, and for `*`. */
export function needsDirect(request: IncomingMessage, path: string): boolean {
  return path === '*' || expectsContinue(request) || announcesTrailers(request)
}

/**
 * Whether the first bytes of the body are here or come within a moment. undici sends a head only together with them: where the caller
 * waits for the answer before it sends (streaming both ways), neither would ever go on.
 */
export async function bodyBegins(request: IncomingMessage): Promise<boolean> {
  if (request.complete || request.readableLength > 0) return true
  const { promise, resolve } = Promise.withResolvers<boolean>()
  const timer = setTimeout(resolve, FIRST_BYTES_MS, false)
  const began = (): void => resolve(true)
  request.once('readable', began).once('close', began)
  return promise.finally(() => {
    clearTimeout(timer)
    request.off('readable', began).off('close', began)
  })
}

/**
 * One call by node:http on a connection of its own, streamed both ways. `Expect: 100-continue` reaches the function, so that it is the
 * function that asks for the body or refuses it unread. Rejects with the signal's reason or with what broke the connection.
 */
export function exchangeDirect(
  upstream: Socket,
  call: DirectCall,
  answer: CallerAnswer,
  signal: AbortSignal,
): Promise<void> {
  const { request, response } = call
  const { promise, resolve, reject } = Promise.withResolvers<void>()
  const outgoing = startRequest(upstream, call)
  const onAbort = (): void => {
    reject(signal.reason as Error)
    outgoing.destroy()
  }
  if (signal.aborted) onAbort()
  else signal.addEventListener('abort', onAbort, { once: true })
  outgoing.on('error', reject)
  outgoing.once('response', (incoming) => {
    relayAnswer(incoming, answer).then(resolve, reject)
  })
  if (expectsContinue(request)) passContinue(outgoing, response)
  outgoing.flushHeaders()
  sendBody(request, outgoing)
  return promise.finally(() => {
    signal.removeEventListener('abort', onAbort)
    request.unpipe(outgoing)
    outgoing.on('error', () => undefined).destroy()
  })
}

function startRequest(upstream: Socket, { request, headers, path }: DirectCall): ClientRequest {
  const framing: string[] = []
  if (request.headers['transfer-encoding'] !== undefined) framing.push('Transfer-Encoding', 'chunked')
  if (announcesTrailers(request)) framing.push('Trailer', request.headers.trailer ?? '')
  return httpRequest({
    createConnection: () => upstream,
    method: request.method ?? 'GET',
    path,
    headers: [...headers, ...framing],
  })
}

/** Answers when the whole answer has been passed on; rejects when it was cut. */
export function relayAnswer(incoming: IncomingMessage, answer: CallerAnswer): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>()
  incoming.on('error', reject)
  incoming.on('data', (chunk: Buffer) => answer.data(chunk, incoming))
  incoming.once('end', () => {
    if (!incoming.complete) return reject(new Error('the answer was cut'))
    answer.end(incoming.rawTrailers)
    resolve()
  })
  incoming.once('close', () => reject(new Error('the answer was cut')))
  try {
    answer.head(incoming.statusCode ?? 502, incoming.rawHeaders)
  } catch (thrown) {
    reject(thrown)
    incoming.destroy()
  }
  return promise
}

/** 100 goes to the caller once: when the function says it, or after a moment when it does not know of it. */
function passContinue(outgoing: ClientRequest, response: ServerResponse): void {
  let told = false
  const tell = (): void => {
    if (told || response.headersSent || response.destroyed) return
    told = true
    response.writeContinue()
  }
  const timer = setTimeout(tell, CONTINUE_AFTER_MS)
  outgoing.once('continue', tell)
  outgoing.once('response', () => clearTimeout(timer))
  outgoing.once('close', () => clearTimeout(timer))
}

function sendBody(request: IncomingMessage, outgoing: ClientRequest): void {
  request.pipe(outgoing, { end: false })
  const end = (): void => {
    const trailers = announcesTrailers(request) ? forwardTrailers(request.rawTrailers) : []
    if (trailers.length > 0) outgoing.addTrailers(trailers)
    outgoing.end()
  }
  if (request.readableEnded) end()
  else request.once('end', end)
}

/** HTTP/1.0 knows no 100 (RFC 9110 10.1.1): there the field is ignored. */
function expectsContinue({ httpVersion, headers }: IncomingMessage): boolean {
  return httpVersion === '1.1' && headers.expect !== undefined
}

function announcesTrailers({ headers }: IncomingMessage): boolean {
  return headers.trailer !== undefined && headers['transfer-encoding'] !== undefined
}
