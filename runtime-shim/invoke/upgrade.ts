import { request as httpRequest, type IncomingMessage, type ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { DEFAULT_WEBSOCKET_IDLE_S, type Version } from '../../api/index.ts'
import type { Instance, VersionPool } from '../instances/index.ts'
import { failureResult } from './answer.ts'
import { type CallContext, recordOf, runCall, type Tried } from './call.ts'
import { CallerAnswer } from './caller-answer.ts'
import { closeNumber } from './close-frames.ts'
import { forwardRequestHeaders, forwardResponseHeaders, platformHeaders } from './headers.ts'
import { brokenConnection } from './outcome.ts'
import type { RecordSink, WebCall } from './runtime.ts'
import { type TunnelEnd, tunnel } from './tunnel.ts'
import { limitsOf, type StatusOf } from './web.ts'

/** The end of a process is told a moment after its connections have ended. */
const EXIT_WAIT_MS = 250

interface UpgradeExchange {
  request: IncomingMessage
  /** Made by the gateway for the caller's bare connection; what is written to it is the answer. */
  response: ServerResponse
  /** What came behind the request already. */
  head: Buffer
  call: WebCall
}

/** The end of a call that was no failure: its number, and what is written down beside it. */
interface Ended {
  number: number
  message: string | null
}

/**
 * One WebSocket of a web function: one call, from its handshake to its end. It holds its slot all the time, ends at the execution timeout
 * of any call, and without a byte either way at `websocket.idleTimeout` (facts: scf-contract 1.10). Anything but 101 from the function is passed on and the connection closed.
 */
export async function forwardUpgrade(
  context: CallContext,
  pool: VersionPool,
  version: Version,
  exchange: UpgradeExchange,
  sink: RecordSink,
  statusOf: StatusOf,
): Promise<void> {
  const { request, response, head, call } = exchange
  const { requestId, callerRequestId } = call
  const { socket: caller } = response
  if (caller === null) return
  if (head.length > 0) caller.unshift(head)
  const gone = new AbortController()
  const unwatch = watchLeaving(caller, () => gone.abort(new Error('caller left')))
  const answer = new CallerAnswer(request, response, requestId, limitsOf(version))
  const idleMs = (version.settings.websocket?.idleTimeout ?? DEFAULT_WEBSOCKET_IDLE_S) * 1_000
  const headers = [
    ...forwardRequestHeaders(request.rawHeaders, {
      remoteAddress: request.socket.remoteAddress ?? '',
      secure: 'encrypted' in request.socket,
      expect: false,
      prefix: call.forwardedPrefix,
      platform: platformHeaders(version, requestId, context.identity),
    }),
    'Connection',
    'Upgrade',
    'Upgrade',
    'websocket',
  ]
  const result = await runCall(context, pool, { requestId, caller: gone.signal }, async ({ instance }, { signal }) => {
    const upstream = await context.dial(instance.id)
    const asked = await ask(upstream, { request, headers, path: call.path }, answer, signal)
    if (asked === 'answered') return { kind: 'done', value: { number: 200, message: null } }
    unwatch()
    try {
      accept(response, asked.rawHeaders, requestId)
    } catch (thrown) {
      asked.socket.destroy()
      throw thrown
    }
    return outcomeOf(await tunnel(caller, asked.socket, { idleMs, signal }), instance, idleMs)
  })
  unwatch()
  const { outcome } = result
  if (outcome.kind === 'failed') {
    const { failure } = outcome
    answer.fail(failureResult(failure, requestId), failure.number, statusOf(failure.number))
  }
  const { number, message } = outcome.kind === 'done' ? outcome.value : outcome.failure
  sink(recordOf(version, 'web', { requestId, callerRequestId }, result, number, message))
}

interface Accepted {
  rawHeaders: string[]
  socket: Socket
}

/** Sends the request; answers with the upgraded connection, or after another answer has been passed on. */
function ask(
  upstream: Socket,
  { request, headers, path }: { request: IncomingMessage; headers: string[]; path: string },
  answer: CallerAnswer,
  signal: AbortSignal,
): Promise<Accepted | 'answered'> {
  const { promise, resolve, reject } = Promise.withResolvers<Accepted | 'answered'>()
  const { method = 'GET' } = request
  const outgoing = httpRequest({ createConnection: () => upstream, method, path, headers })
  const onAbort = (): void => {
    reject(signal.reason as Error)
    outgoing.destroy()
  }
  if (signal.aborted) onAbort()
  else signal.addEventListener('abort', onAbort, { once: true })
  outgoing.on('error', reject)
  outgoing.once('upgrade', ({ rawHeaders }: IncomingMessage, socket: Socket, head: Buffer) => {
    if (head.length > 0) socket.unshift(head)
    resolve({ rawHeaders, socket })
  })
  outgoing.once('response', (incoming) => {
    relayAnswer(incoming, answer).then(() => resolve('answered'), reject)
  })
  outgoing.end()
  return promise.finally(() => signal.removeEventListener('abort', onAbort))
}

/** Tells the caller 101; from here on its connection carries what the two sides say to each other. */
function accept(response: ServerResponse, rawHeaders: readonly string[], requestId: string): void {
  const { socket } = response
  const headers = forwardResponseHeaders(rawHeaders, requestId, ['content-length', 'trailer'])
  response.sendDate = false
  response.writeHead(101, [...headers, 'Connection', 'Upgrade', 'Upgrade', 'websocket'])
  response.flushHeaders()
  if (socket !== null) response.detachSocket(socket)
}

async function outcomeOf(end: TunnelEnd, instance: Instance, idleMs: number): Promise<Tried<Ended>> {
  if (end.kind === 'idle') {
    return { kind: 'done', value: { number: 455, message: `no byte passed for ${idleMs / 1_000} s` } }
  }
  const { by, frame } = end
  const number = closeNumber(by, frame)
  if (number === 200) return { kind: 'done', value: { number, message: null } }
  if (frame !== undefined) {
    return { kind: 'done', value: { number, message: `the ${by} closed the WebSocket with code ${frame.code}` } }
  }
  const exit = by === 'function' ? await instance.exitWithin(EXIT_WAIT_MS) : undefined
  if (exit !== undefined) return { kind: 'failed', failure: brokenConnection(exit, undefined) }
  return { kind: 'done', value: { number, message: `the ${by} ended the connection without closing the WebSocket` } }
}

/** Answers when the whole answer has been passed on; rejects when it was cut, or is not passed on. */
function relayAnswer(incoming: IncomingMessage, answer: CallerAnswer): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>()
  const tell = (step: () => void): void => {
    try {
      step()
      answer.flush()
    } catch (thrown) {
      reject(thrown)
      incoming.destroy()
    }
  }
  answer.source = incoming
  incoming.on('error', reject)
  incoming.on('data', (chunk: Buffer) => tell(() => answer.data(chunk)))
  incoming.once('end', () => {
    if (!incoming.complete) return reject(new Error('the answer was cut'))
    answer.end(incoming.rawTrailers)
    resolve()
  })
  incoming.once('close', () => reject(new Error('the answer was cut')))
  tell(() => answer.head(incoming.statusCode ?? 502, incoming.rawHeaders, undefined))
  return promise
}

/** Notices a caller that leaves before it is answered; of what it sends meanwhile no more than the socket's buffer is read. */
function watchLeaving(caller: Duplex, onGone: () => void): () => void {
  const look = (): void => {
    if (caller.readableLength === 0) caller.read()
  }
  caller.on('readable', look).once('end', onGone).once('close', onGone)
  return () => void caller.off('readable', look).off('end', onGone).off('close', onGone)
}
