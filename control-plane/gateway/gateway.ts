import { randomUUIDv7 } from 'node:crypto'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { Duplex } from 'node:stream'
import { AppError, type Logger, toAppError } from '../../common/index.ts'
import type { RecordSink } from '../../runtime-shim/index.ts'
import type { AccessControl } from '../access.ts'
import type { Snapshot } from '../store/store.ts'
import { answerProblem, refuseSocket } from './answer.ts'
import { ByteBudget } from './body.ts'
import { connectionLimit } from './connection-limit.ts'
import { Door } from './door.ts'
import { answerEventCall, type EventCallDependencies } from './event-call.ts'
import { JsonCheck } from './json-check.ts'
import { type Route, routeRequest, type ServedHosts } from './route.ts'
import type { StrictHead } from './strict.ts'
import {
  findWebVersion,
  forwardUpgradeCall,
  forwardWebCall,
  requireWebAccess,
  type UpgradingRuntime,
  webCall,
} from './web-call.ts'

export type RawHandler = (request: IncomingMessage, response: ServerResponse) => void | Promise<void>

export interface GatewayOptions {
  runtime: UpgradingRuntime
  snapshot: Snapshot
  access: AccessControl
  record: RecordSink
  served: ServedHosts
  /** The API (fastify). */
  api: RawHandler
  /** The token server of the local registry. */
  registryToken: RawHandler
  /** Bytes of bodies held at once. */
  bodyBudgetBytes: number
  logger: Logger
}

/** How the HTTP server is to read: heads are bounded in size and time, nothing is read leniently. */
export const HTTP_SERVER_OPTIONS = {
  maxHeaderSize: 32 * 1024,
  insecureHTTPParser: false,
  // Node's own answer to a missing Host goes on with the requests pipelined behind it; the door refuses and ends the connection.
  requireHostHeader: false,
  headersTimeout: 15_000,
  // A web function may be sent a body for as long as it may run (900 s); events and the API have shorter bounds of their own.
  requestTimeout: 960_000,
  connectionsCheckingInterval: 5_000,
  keepAliveTimeout: 65_000,
  // RFC 9110 7.8: HTTP/1.0 cannot be upgraded; there the field is ignored.
  shouldUpgradeCallback: ({ httpVersion, headers }: IncomingMessage): boolean =>
    httpVersion === '1.1' && headers.upgrade?.toLowerCase() === 'websocket',
} as const

/** How long a caller may leave a body, or an answer that is ready, lying. */
const IDLE_MS = 30_000

/** Everything that reads bytes of callers: what is ambiguous is refused, the rest goes to functions or to the API. */
export class Gateway {
  readonly #options: GatewayOptions
  readonly #events: EventCallDependencies
  readonly #door = new Door()

  constructor(options: GatewayOptions) {
    this.#options = options
    const { runtime, snapshot, record, access } = options
    this.#events = {
      runtime,
      snapshot,
      record,
      access,
      budget: new ByteBudget(options.bodyBudgetBytes),
      jsonCheck: new JsonCheck(),
    }
  }

  /** An HTTP server that reads as the gateway needs it. Listening (on an inherited descriptor) is the caller's. */
  createServer(): Server {
    const server = createServer({ ...HTTP_SERVER_OPTIONS })
    const listener = (request: IncomingMessage, response: ServerResponse): void => this.listener(request, response)
    server.on('request', listener)
    server.on('checkContinue', listener)
    server.on('checkExpectation', listener)
    server.on('upgrade', (request, socket, head) => this.upgrade(request, socket, head))
    server.on('connect', (_request, socket) => this.#door.refuse(socket, { status: 405, why: 'CONNECT is not served' }))
    server.timeout = IDLE_MS
    server.on('timeout', (socket) => this.#door.idle(socket, server.timeout))
    server.maxConnections = connectionLimit() ?? server.maxConnections
    server.on('clientError', (error, socket) => this.#door.refuseUnread(error, socket))
    return server
  }

  /** For `request`, `checkContinue` and `checkExpectation` events. */
  listener(request: IncomingMessage, response: ServerResponse): void {
    this.#door.admit(request, response, (head) => this.#accept(head, request, response))
  }

  #accept(head: StrictHead, request: IncomingMessage, response: ServerResponse): void {
    // Ordered by time, so that the store's index of ids grows at its end: records in random order cost it more than twice as much.
    const requestId = randomUUIDv7()
    const route = routeRequest(request.method ?? 'GET', head.host, head.target, this.#options.served)
    request.url = head.target
    this.#serve(route, request, response, requestId).catch((thrown: unknown) => {
      const error = toAppError(thrown)
      if (error.fault === 'system') this.#options.logger.error({ requestId, err: thrown }, 'request failed')
      answerProblem(request, response, error, requestId)
    })
  }

  #serve(route: Route, request: IncomingMessage, response: ServerResponse, requestId: string): Promise<void> {
    return route.kind === 'event'
      ? answerEventCall(this.#events, request, response, route, requestId)
      : this.#serveOther(route, request, response, requestId)
  }

  async #serveOther(
    route: Exclude<Route, { kind: 'event' }>,
    request: IncomingMessage,
    response: ServerResponse,
    requestId: string,
  ): Promise<void> {
    const { runtime, snapshot, access, api, registryToken } = this.#options
    switch (route.kind) {
      case 'web': {
        const version = findWebVersion(snapshot, route)
        requireWebAccess(access, version, request)
        return forwardWebCall(runtime, version, request, response, webCall(route, request, requestId))
      }
      case 'redirect':
        response.writeHead(308, { location: route.location, 'content-length': 0 }).end()
        return undefined
      case 'not-served':
        throw hostNotServed(request.headers.host)
      case 'registry-token':
        if (request.headers.expect !== undefined) response.writeContinue()
        return registryToken(request, response)
      case 'api':
        if (request.headers.expect !== undefined) response.writeContinue()
        return api(request, response)
      default:
        return route satisfies never
    }
  }

  /** For `upgrade` events: a WebSocket of a web function; nothing else here can be upgraded. */
  upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void {
    const strict = this.#door.admitUpgrade(request, socket)
    if (strict === undefined) return
    const requestId = randomUUIDv7()
    socket.on('error', () => socket.destroy())
    this.#upgrade(strict, request, head, requestId).catch((thrown: unknown) => {
      const error = toAppError(thrown)
      if (error.fault === 'system') this.#options.logger.error({ requestId, err: thrown }, 'upgrade failed')
      refuseSocket(socket, error, requestId)
    })
  }

  async #upgrade(strict: StrictHead, request: IncomingMessage, head: Buffer, requestId: string): Promise<void> {
    const { runtime, snapshot, access, served } = this.#options
    const route = routeRequest(request.method ?? 'GET', strict.host, strict.target, served)
    if (route.kind === 'not-served') throw hostNotServed(strict.host)
    if (route.kind !== 'web') throw cannotUpgrade('only web functions take WebSockets')
    const version = findWebVersion(snapshot, route)
    requireWebAccess(access, version, request)
    if (runtime.forwardUpgrade === undefined) throw cannotUpgrade('this runtime does not forward WebSockets yet')
    const forward = runtime.forwardUpgrade.bind(runtime)
    await forwardUpgradeCall(forward, version, request, head, webCall(route, request, requestId))
  }
}

function hostNotServed(host: string | undefined): AppError {
  return new AppError(`"${(host ?? '').slice(0, 260)}" is no host of this platform`, {
    code: 'host-not-served',
    fault: 'user',
    hint: 'use the address that `slipway status` and the url that `slipway get` show',
  })
}

function cannotUpgrade(why: string): AppError {
  return new AppError(`the connection cannot be upgraded: ${why}`, { code: 'upgrade-unsupported', fault: 'user' })
}
