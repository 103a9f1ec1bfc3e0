import { type IncomingMessage, ServerResponse } from 'node:http'
import type { Version } from '../../api/index.ts'
import { AppError } from '../../common/index.ts'
import type { Runtime, WebCall } from '../../runtime-shim/index.ts'
import type { AccessControl } from '../access.ts'
import type { Snapshot } from '../store/store.ts'
import { confineAnswer } from './confine.ts'
import { callerId } from './event-call.ts'
import type { Route } from './route.ts'

/** A runtime that can also pass upgraded connections (WebSocket) on. */
export interface UpgradingRuntime extends Runtime {
  /** Answers `response`, which stands on the caller's bare connection; after 101 it is given up and the connection used as it is. `head` is what came behind the request already. */
  forwardUpgrade?(
    version: Version,
    request: IncomingMessage,
    response: ServerResponse,
    head: Buffer,
    call: WebCall,
  ): Promise<void>
}

/** Like every name that begins so it is taken away before the function. */
const TOKEN_HEADER = 'x-slipway-token'

export type WebRoute = Extract<Route, { kind: 'web' }>

/** The version that a web call goes to. Throws `function-not-found`, `function-type`. */
export function findWebVersion(snapshot: Snapshot, { namespace, name }: WebRoute): Version {
  const version = snapshot.function(namespace, name)
  if (version === undefined) {
    throw new AppError(`there is no function ${name} in namespace ${namespace}`, {
      code: 'function-not-found',
      fault: 'user',
    })
  }
  if (version.settings.type === 'web') return version
  throw new AppError(`function ${namespace}/${name} takes events, not web calls`, {
    code: 'function-type',
    fault: 'user',
    hint: `call it with: slipway invoke ${name} --namespace ${namespace}`,
  })
}

/** Where the function asks for a token: `Authorization` belongs to the function. Throws `unauthorized`, `access-denied`. */
export function requireWebAccess(
  access: AccessControl,
  { namespace, settings }: Version,
  request: IncomingMessage,
): void {
  if (settings.auth !== 'token') return
  const token = request.headers[TOKEN_HEADER]
  if (typeof token === 'string' && token !== '') access.require('invoke', `Bearer ${token}`, namespace)
  else {
    throw new AppError('the request has no token', {
      code: 'unauthorized',
      fault: 'user',
      hint: 'this function is called with a token of the platform in X-Slipway-Token',
    })
  }
}

export function webCall(route: WebRoute, request: IncomingMessage, requestId: string): WebCall {
  return { requestId, callerRequestId: callerId(request), path: route.path, forwardedPrefix: route.prefix }
}

export async function forwardWebCall(
  runtime: Runtime,
  version: Version,
  request: IncomingMessage,
  response: ServerResponse,
  call: WebCall,
): Promise<void> {
  if (call.forwardedPrefix !== null) confineAnswer(response, call.forwardedPrefix)
  await runtime.forwardWeb(version, request, response, call)
}

/** The same for a connection that is to be upgraded; whatever is answered passes the same confinement. */
export async function forwardUpgradeCall(
  forward: NonNullable<UpgradingRuntime['forwardUpgrade']>,
  version: Version,
  request: IncomingMessage,
  head: Buffer,
  call: WebCall,
): Promise<void> {
  const response = responseOn(request)
  if (call.forwardedPrefix !== null) confineAnswer(response, call.forwardedPrefix)
  await forward(version, request, response, head, call)
}

/** After `upgrade` node:http makes no answer any more: this one ends the connection when it is written. */
function responseOn(request: IncomingMessage): ServerResponse {
  const { socket } = request
  const response = new ServerResponse(request)
  response.shouldKeepAlive = false
  response.assignSocket(socket)
  socket.on('drain', () => response.emit('drain'))
  response.once('finish', () => {
    response.detachSocket(socket)
    socket.destroySoon()
  })
  return response
}
