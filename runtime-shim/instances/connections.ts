import { Socket } from 'node:net'
import { AppError } from '../../common/index.ts'
import type { HostClient } from '../host/host-client.ts'

/** The port that functions serve on (facts: scf-contract 1.3). */
export const FUNCTION_PORT = 9_000

/** A pooled connection is used again only when idle for less than this, or half of what the function announced, if that is less. */
export const REUSE_MS = 1_000
const DIAL_TIMEOUT_MS = 5_000

/** Thrown when no connection stood: not one byte was sent, so the call may go elsewhere. */
export function isUnsent(thrown: unknown): boolean {
  return thrown instanceof AppError && thrown.code === 'dial-failed'
}

/** Why an instance that took no connection is of no more use; undefined where the supervisor did not say so (it is away, or the backlog full). */
export function whyUnusable(thrown: unknown): string | undefined {
  const outcome = thrown instanceof AppError ? thrown.details['outcome'] : undefined
  return outcome === 'refused' || outcome === 'gone' ? 'took no connection' : undefined
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
  return socketOf(await dialDescriptor(host, id))
}

/** The same as a descriptor, which is the caller's to close. */
export async function dialDescriptor(host: HostClient, id: string): Promise<number> {
  try {
    return await connect(host, id)
  } catch (thrown) {
    if (isUnsent(thrown)) throw thrown
    throw new AppError(`instance ${id} could not be dialled`, { code: 'dial-failed', retryable: true, cause: thrown })
  }
}

async function connect(host: HostClient, id: string): Promise<number> {
  const answer = await host.call('dial', { id, port: FUNCTION_PORT }, AbortSignal.timeout(DIAL_TIMEOUT_MS))
  if (answer.descriptor === null) {
    throw new AppError(`instance ${id} took no connection: ${answer.outcome}`, {
      code: 'dial-failed',
      retryable: true,
      details: { outcome: answer.outcome },
    })
  }
  return host.takeDescriptor(answer.descriptor)
}
