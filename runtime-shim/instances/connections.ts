import { Socket } from 'node:net'
import { type Dispatcher, Pool } from 'undici'
import { AppError, toAppError } from '../../common/index.ts'
import type { HostClient } from '../host/host-client.ts'

/** The port that functions serve on (facts: scf-contract 1.3). */
export const FUNCTION_PORT = 9_000

/** A pooled connection is used again only when idle for less than this, or half of what the function announced, if that is less. */
const REUSE_MS = 1_000
const DIAL_TIMEOUT_MS = 5_000

/** Thrown when no connection stood: not one byte was sent, so the call may go elsewhere. */
export function isUnsent(thrown: unknown): boolean {
  return thrown instanceof AppError && thrown.code === 'dial-failed'
}

/** Wraps a connected descriptor that the supervisor passed. */
export function socketOf(descriptor: number): Socket {
  const socket = new Socket({ fd: descriptor, readable: true, writable: true })
  socket.setNoDelay(true)
  // A function may reset it before anybody uses it; without a listener that would end this process.
  socket.on('error', () => undefined)
  return socket
}

/** Asks the supervisor for one more connection into the instance. Throws `dial-failed`. */
export async function dial(host: HostClient, id: string): Promise<Socket> {
  try {
    return await connect(host, id)
  } catch (thrown) {
    if (isUnsent(thrown)) throw thrown
    throw new AppError(`instance ${id} could not be dialled`, { code: 'dial-failed', retryable: true, cause: thrown })
  }
}

async function connect(host: HostClient, id: string): Promise<Socket> {
  const answer = await host.call('dial', { id, port: FUNCTION_PORT }, AbortSignal.timeout(DIAL_TIMEOUT_MS))
  if (answer.descriptor === null) {
    throw new AppError(`instance ${id} took no connection: ${answer.outcome}`, {
      code: 'dial-failed',
      retryable: true,
      details: { outcome: answer.outcome },
    })
  }
  return socketOf(host.takeDescriptor(answer.descriptor))
}

/** The connections of one instance: at most `concurrency`, the first of them the one that proved it listens. */
export function connectionPool(
  host: HostClient,
  id: string,
  first: Socket | undefined,
  concurrency: number,
): Dispatcher {
  let ready = first
  // Nobody reads it meanwhile: that the function has closed it would be seen only after the call was written.
  setTimeout(() => {
    ready?.destroy()
    ready = undefined
  }, REUSE_MS).unref()
  return new Pool('http://function', {
    connections: concurrency,
    pipelining: 1,
    headersTimeout: 0,
    bodyTimeout: 0,
    keepAliveTimeout: REUSE_MS,
    keepAliveMaxTimeout: REUSE_MS,
    keepAliveTimeoutThreshold: REUSE_MS / 2,
    connect: (_options, callback) => {
      const socket = ready
      ready = undefined
      if (socket !== undefined && !socket.destroyed) {
        queueMicrotask(() => callback(null, socket))
        return
      }
      dial(host, id).then(
        (fresh) => callback(null, fresh),
        (thrown: unknown) => callback(toAppError(thrown), null),
      )
    },
  })
}
