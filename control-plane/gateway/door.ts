import { randomUUID } from 'node:crypto'
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { AppError, discardRest, errnoOf } from '../../common/index.ts'
import { refuseSocket } from './answer.ts'
import { type Refusal, readStrictly, type StrictHead } from './strict.ts'

interface Connection {
  last: ServerResponse | undefined
  /** To the request whose turn it is. */
  current: ServerResponse | undefined
  /** Requests that were read and whose turn has not come. */
  waiting: number
  refused: boolean
  /** What the last request is refused with when its turn comes. */
  broken: Said | undefined
}

interface Said {
  status: number
  why: string
}

/** So many pipelined requests are held of one connection before it is not read on. */
const MAX_WAITING = 16

/**
 * The state that strictness needs for each connection: requests are served one after the other, as they came (RFC 9112 9.3.2 allows
 * more only among safe methods); after a refusal nothing is read as a request any more (where the next one would begin is exactly what
 * is in doubt), and a refusal never overtakes the answer to an earlier, pipelined request.
 */
export class Door {
  readonly #connections = new WeakMap<Duplex, Connection>()

  /** Calls `serve` with the head of a request that may come in, when its turn has come; otherwise it is refused and answered here. */
  admit(request: IncomingMessage, response: ServerResponse, serve: (head: StrictHead) => void): void {
    const { socket } = request
    const connection = this.#connection(socket)
    if (connection.refused) return
    const former = connection.last
    connection.last = response
    if (former === undefined || isOver(former)) {
      this.#take(connection, request, response, serve)
      return
    }
    connection.waiting += 1
    if (connection.waiting >= MAX_WAITING) socket.pause()
    former.once('close', () => {
      connection.waiting -= 1
      socket.resume()
      // The former answer may have ended the connection, or the caller.
      if (socket.writable) this.#take(connection, request, response, serve)
    })
  }

  #take(
    connection: Connection,
    request: IncomingMessage,
    response: ServerResponse,
    serve: (head: StrictHead) => void,
  ): void {
    connection.current = response
    if (connection.broken !== undefined && connection.last === response) {
      say(request.socket, connection.broken)
      return
    }
    const head = headOf(request)
    if (isAskedToUpgrade(request)) response.shouldKeepAlive = false
    if (!('status' in head)) {
      // RFC 9112 3.2.2: the host of a target in absolute form is the host, also where HTTP/1.0 says no other.
      if (request.headers.host === undefined && head.host !== '') request.rawHeaders.push('Host', head.host)
      serve(head)
      return
    }
    connection.refused = true
    // On the bare socket: node:http would close it while the body still comes.
    response.detachSocket(request.socket)
    say(request.socket, head, request.method)
    discardRest(request)
  }

  /** The head of a request to upgrade that may come in; undefined when it was refused and answered here. */
  admitUpgrade(request: IncomingMessage, socket: Duplex): StrictHead | undefined {
    const connection = this.#connection(socket)
    if (connection.refused) return undefined
    const head = headOf(request)
    const refusal = 'status' in head ? head : cannotSwitch(request, connection)
    if (refusal === undefined && !('status' in head)) return head
    if (refusal !== undefined) this.refuse(socket, refusal)
    return undefined
  }

  /** Refuses on the bare socket, behind the answer that is still being written there. */
  refuse(socket: Duplex, refusal: Said): void {
    const connection = this.#connection(socket)
    if (connection.refused) return
    connection.refused = true
    const { last } = connection
    if (last === undefined || isOver(last)) say(socket, refusal)
    else last.once('finish', () => say(socket, refusal))
  }

  /** What Node's parser refused, or a head that did not come in time (`clientError`). */
  refuseUnread(error: Error, socket: Duplex): void {
    const errno = errnoOf(error)
    const refusal = unreadRefusal(errno, error.message)
    const connection = this.#connection(socket)
    const { last } = connection
    if (errno === 'ECONNRESET') socket.destroy()
    else if (connection.refused) return
    else if (!socket.writable) socket.destroy()
    else if (last === undefined || last.req.complete || last.writableEnded) this.refuse(socket, refusal)
    else breakOff(connection, last, socket, refusal)
  }

  /**
   * Nothing has passed on a connection for a while (`timeout`). A caller that owes the rest of its body, or does not read an answer that
   * is made, loses it; one that waits for a function, or whose body waits to be read, keeps it.
   */
  idle(socket: Socket, idleMs: number): void {
    const connection = this.#connection(socket)
    const { current } = connection
    // Kept alive for a next request that does not come, or left with an answer that nobody reads.
    if (current === undefined || connection.refused || current.writableEnded || current.destroyed) socket.destroy()
    else if (isAwaited(current.req)) {
      const why = `no byte of the body came for ${idleMs / 1_000} s`
      breakOff(connection, current, socket, { status: 408, why })
    } else socket.setTimeout(idleMs)
  }

  #connection(socket: Duplex): Connection {
    const known = this.#connections.get(socket)
    if (known !== undefined) return known
    const connection: Connection = {
      last: undefined,
      current: undefined,
      waiting: 0,
      refused: false,
      broken: undefined,
    }
    this.#connections.set(socket, connection)
    return connection
  }
}

function isOver(response: ServerResponse): boolean {
  return response.writableFinished || response.destroyed
}

/** Whether more of a body is wanted and none is here. */
function isAwaited(request: IncomingMessage): boolean {
  const isRead = request.readableFlowing === true || request.listenerCount('readable') > 0
  return !request.complete && isRead && request.readableLength === 0
}

/** The fault lies within the body of the last request. One that is being served would never be answered, so its answer is not waited for. */
function breakOff(connection: Connection, last: ServerResponse, socket: Duplex, refusal: Said): void {
  connection.refused = true
  const waits = last.socket === null
  if (waits) connection.broken = refusal
  else if (last.headersSent) socket.destroy()
  else say(socket, refusal)
}

/**
 * A request to upgrade that is served as an ordinary one. Node's parser has stopped behind it and dropped what it had read beyond: only a
 * new connection is certain.
 */
function isAskedToUpgrade({ headers }: IncomingMessage): boolean {
  return headers.upgrade !== undefined && /\bupgrade\b/i.test(headers.connection ?? '')
}

/** Where a connection changes its protocol, nothing may be in doubt before that point. */
function cannotSwitch({ headers }: IncomingMessage, { last }: Connection): Refusal | undefined {
  if (last !== undefined && !isOver(last))
    return { status: 400, why: 'an upgrade cannot be pipelined behind another request' }
  const { 'content-length': length = '0', 'transfer-encoding': coding } = headers
  return coding === undefined && Number(length) === 0
    ? undefined
    : { status: 400, why: 'a request to upgrade has no body' }
}

function say(socket: Duplex, { status, why }: Said, method?: string): void {
  const code = status === 405 ? 'method-not-allowed' : 'request-malformed'
  refuseSocket(socket, new AppError(why, { code, fault: 'user' }), randomUUID(), status, method)
}

function unreadRefusal(errno: string | undefined, message: string): Said {
  if (errno === 'HPE_HEADER_OVERFLOW')
    return { status: 431, why: 'the head of the request is larger than 32 KB or has more than 1,000 fields' }
  if (errno === 'ERR_HTTP_REQUEST_TIMEOUT') return { status: 408, why: 'the request did not arrive in time' }
  return { status: 400, why: `this is no HTTP/1.1 request: ${message.replace(/^Parse Error:? */, '')}` }
}

function headOf(request: IncomingMessage): StrictHead | Refusal {
  return readStrictly({
    method: request.method ?? '',
    target: request.url ?? '',
    httpVersion: request.httpVersion,
    rawHeaders: request.rawHeaders,
    secure: 'encrypted' in request.socket,
  })
}
