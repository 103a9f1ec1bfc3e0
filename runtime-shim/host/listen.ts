import { closeSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { AppError, listenTcp, syscallErrno } from '../../common/index.ts'

const REASONS = {
  EADDRINUSE: 'is taken by another program',
  EACCES: 'needs root',
  EADDRNOTAVAIL: 'is no address here',
} as const

/** A listening socket; `option` of `slipway up` chooses another port. Throws `port-taken`. */
export function listen(address: string, port: number, option: string): number {
  try {
    return listenTcp(address, port)
  } catch (thrown) {
    const errno = syscallErrno(thrown)
    if (errno !== 'EADDRINUSE' && errno !== 'EACCES' && errno !== 'EADDRNOTAVAIL') throw thrown
    throw new AppError(`${address}:${port} ${REASONS[errno]}`, {
      code: 'port-taken',
      fault: 'user',
      hint: `choose another with ${option}, or end what listens there`,
      cause: thrown,
    })
  }
}

const POLL_MS = 10

/** Resolves when nobody listens there any more, or after `timeoutMs`. */
export async function waitUntilFree(address: string, port: number, timeoutMs: number): Promise<void> {
  for (const untilMs = Date.now() + timeoutMs; Date.now() < untilMs; await sleep(POLL_MS)) {
    try {
      return closeSync(listenTcp(address, port))
    } catch (thrown) {
      if (syscallErrno(thrown) !== 'EADDRINUSE') throw thrown
    }
  }
}

/** Throws `port-taken` when a program that we are about to start could not listen there. */
export function assertFree(address: string, port: number, option: string): void {
  closeSync(listen(address, port, option))
}
