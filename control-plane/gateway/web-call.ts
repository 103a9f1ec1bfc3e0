import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Duplex } from 'node:stream'
import type { Version } from '../../api/index.ts'
import { AppError } from '../../common/index.ts'
import type { Runtime, WebCall } from '../../runtime-shim/index.ts'
import type { Snapshot } from '../store/store.ts'
import { confineAnswer } from './confine.ts'
import { callerId } from './event-call.ts'
import type { Route } from './route.ts'

/** A runtime that can also pass upgraded connections (WebSocket) on. */
export interface UpgradingRuntime extends Runtime {
  /** Answers on `socket` itself, refusals included. `head` is what came behind the request already. */
  forwardUpgrade?(
    version: Version,
    request: IncomingMessage,
    socket: Duplex,
    head: Buffer,
    call: WebCall,
  ): Promise<void>
}

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
  if (request.headers.expect !== undefined) {
    response.writeContinue()
    dropExpect(request)
  }
  await runtime.forwardWeb(version, request, response, call)
}

/** The caller has been told to continue: what the function is sent must not ask for it again. */
function dropExpect(request: IncomingMessage): void {
  const { rawHeaders } = request
  for (let at = rawHeaders.length - 2; at >= 0; at -= 2) {
    if (rawHeaders[at]?.toLowerCase() === 'expect') rawHeaders.splice(at, 2)
  }
  delete request.headers.expect
}
