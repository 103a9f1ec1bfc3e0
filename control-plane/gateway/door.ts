import { randomUUID } from 'node:crypto'
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Duplex } from 'node:stream'
import { AppError, errnoOf } from '../../common/index.ts'
import { answerProblem, refuseSocket } from './answer.ts'
import { type Refusal, readStrictly, type StrictHead } from './strict.ts'

/**
 * The state that strictness needs for each connection: after a refusal nothing of it is read as a request any more (where the next one
 * would begin is exactly what is in doubt), and a refusal never overtakes the answer to an earlier, pipelined request.
 */
export class Door {
  readonly #refused = new WeakSet<Duplex>()
  readonly #lastResponse = new WeakMap<Duplex, ServerResponse>()

  /** The head of a request that may come in; undefined when it was refused and answered here. */
  admit(request: IncomingMessage, response: ServerResponse): StrictHead | undefined {
    const { socket } = request
    if (this.#refused.has(socket)) return undefined
    this.#lastResponse.set(socket, response)
    const head = headOf(request)
    if (!('status' in head)) return head
    this.#refused.add(socket)
    response.shouldKeepAlive = false
    const { status, error } = refusalError(head)
    answerProblem(request, response, error, randomUUID(), status)
    return undefined
  }

  /** The same for a request to upgrade. */
  admitUpgrade(request: IncomingMessage, socket: Duplex): StrictHead | undefined {
    if (this.#refused.has(socket)) return undefined
    const head = headOf(request)
    const refusal = 'status' in head ? head : this.#cannotSwitch(request, socket)
    if (refusal === undefined && !('status' in head)) return head
    if (refusal !== undefined) this.refuse(socket, refusal)
    return undefined
  }

  /** Where a connection changes its protocol, nothing may be in doubt before that point. */
  #cannotSwitch({ headers }: IncomingMessage, socket: Duplex): Refusal | undefined {
    const last = this.#lastResponse.get(socket)
    if (last !== undefined && !last.writableFinished && !last.destroyed)
      return { status: 400, why: 'an upgrade cannot be pipelined behind another request' }
    const { 'content-length': length = '0', 'transfer-encoding': coding } = headers
    return coding === undefined && Number(length) === 0
      ? undefined
      : { status: 400, why: 'a request to upgrade has no body' }
  }

  /** Refuses on the bare socket, behind the answer that is still being written there. */
  refuse(socket: Duplex, refusal: { status: number; why: string }): void {
    if (this.#refused.has(socket)) return
    this.#refused.add(socket)
    const { status, error } = refusalError(refusal)
    const say = (): void => refuseSocket(socket, error, randomUUID(), status)
    const last = this.#lastResponse.get(socket)
    if (last === undefined || last.writableFinished || last.destroyed) say()
    else last.once('finish', say)
  }

  /** What Node's parser refused, or a head that did not come in time (`clientError`). */
  refuseUnread(error: Error, socket: Duplex): void {
    const errno = errnoOf(error)
    const refusal = unreadRefusal(errno, error.message)
    const last = this.#lastResponse.get(socket)
    if (errno === 'ECONNRESET' || !socket.writable) socket.destroy()
    else if (last === undefined || last.req.complete || last.writableEnded) this.refuse(socket, refusal)
    else this.#breakOff(last, socket, refusal)
  }

  /** The fault lies within the body of a request that is being served: its answer would never be made, so it is not waited for. */
  #breakOff(last: ServerResponse, socket: Duplex, refusal: { status: number; why: string }): void {
    this.#refused.add(socket)
    const { status, error } = refusalError(refusal)
    const mayAnswer = last.socket === socket && !last.headersSent
    if (mayAnswer) refuseSocket(socket, error, randomUUID(), status)
    else socket.destroy()
  }
}

function unreadRefusal(errno: string | undefined, message: string): { status: number; why: string } {
  if (errno === 'HPE_HEADER_OVERFLOW') return { status: 431, why: 'the head of the request is larger than 32 KB' }
  if (errno === 'ERR_HTTP_REQUEST_TIMEOUT') return { status: 408, why: 'the request did not arrive in time' }
  return { status: 400, why: `this is no HTTP/1.1 request: ${message.replace(/^Parse Error:? */, '')}` }
}

function refusalError({ status, why }: { status: number; why: string }): { status: number; error: AppError } {
  const code = status === 405 ? 'method-not-allowed' : 'request-malformed'
  return { status, error: new AppError(why, { code, fault: 'user' }) }
}

function headOf(request: IncomingMessage): StrictHead | Refusal {
  return readStrictly({
    method: request.method ?? '',
    target: request.url ?? '',
    httpVersion: request.httpVersion,
    rawHeaders: request.rawHeaders,
  })
}
