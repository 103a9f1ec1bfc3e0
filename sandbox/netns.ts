import { closeSync, openSync, unlinkSync, writeFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import {
  addLoopbackAddress,
  bringLoopbackUp,
  type Connection,
  connectionState,
  errnoOf,
  type Logger,
  listenTcp,
  MS,
  messageOf,
  mount,
  setNetworkNamespace,
  startConnect,
  unmount,
  unshareNetwork,
} from '../common/index.ts'

/** The address on which functions are dialled: of the namespace's own, so that a listener on 127.0.0.1 only is refused. */
export const INSTANCE_ADDRESS = '169.254.9.1'

const DIAL_TIMEOUT_MS = 1_000

export type Dialled = { kind: 'connected'; fd: number } | { kind: 'refused' } | { kind: 'busy' }

/**
 * Makes, removes and dials into network namespaces that have nothing but loopback.
 * Entering one is a matter of the thread: everything between entering and returning is synchronous on the main thread, and a process
 * that cannot return ends at once, since all it would do from there on would happen in an instance's network.
 */
export class NetworkNamespaces {
  readonly #own: number
  readonly #log: Logger

  constructor(log: Logger) {
    this.#own = openSync('/proc/thread-self/ns/net', 'r')
    this.#log = log
  }

  /** A new namespace with `lo` up and INSTANCE_ADDRESS on it, pinned to `file`. About 0.5 ms. */
  make(file: string): void {
    writeFileSync(file, '', { flag: 'wx', mode: 0o600 })
    this.#away(
      () => unshareNetwork(),
      () => {
        bringLoopbackUp()
        addLoopbackAddress(INSTANCE_ADDRESS)
        mount('/proc/thread-self/ns/net', file, null, MS.BIND, null)
      },
    )
  }

  /** Puts INSTANCE_ADDRESS on the loopback of a namespace that somebody else made (`/proc/PID/ns/net`). Idempotent. */
  addAddress(file: string): void {
    this.#inside(file, () => addLoopbackAddress(INSTANCE_ADDRESS))
  }

  /** Removes the pin; the namespace goes with its last process and socket. Idempotent. */
  remove(file: string): void {
    while (unmount(file)) continue // a pin may lie over another after a crash
    try {
      unlinkSync(file)
    } catch (thrown) {
      if (errnoOf(thrown) !== 'ENOENT') throw thrown
    }
  }

  /** Connects to `port` at INSTANCE_ADDRESS inside the namespace pinned to `file`; at most 1 s, no byte is sent. */
  async dial(file: string, port: number): Promise<Dialled> {
    const connection = this.#connect(file, port)
    return connection.kind === 'pending' ? settle(connection.fd) : connection
  }

  /** A listening socket at `address` inside the namespace pinned to `file`: who accepts on it out here is the namespace's only way out. */
  listen(file: string, address: string, port: number): number {
    return this.#inside(file, () => listenTcp(address, port))
  }

  close(): void {
    closeSync(this.#own)
  }

  #connect(file: string, port: number): Connection {
    return this.#inside(file, () => startConnect(INSTANCE_ADDRESS, port))
  }

  #inside<T>(file: string, work: () => T): T {
    const namespace = openSync(file, 'r')
    try {
      return this.#away(() => setNetworkNamespace(namespace), work)
    } finally {
      closeSync(namespace)
    }
  }

  #away<T>(leave: () => void, work: () => T): T {
    leave()
    try {
      return work()
    } finally {
      this.#return()
    }
  }

  #return(): void {
    try {
      setNetworkNamespace(this.#own)
    } catch (thrown) {
      this.#log.fatal({ why: messageOf(thrown) }, 'cannot return to the own network namespace: ending')
      process.exit(70)
    }
  }
}

/** Waits for a pending connect. On loopback it is decided at once unless the backlog is full: then the kernel would go on asking. */
async function settle(fd: number): Promise<Dialled> {
  const untilMs = performance.now() + DIAL_TIMEOUT_MS
  for (let waitMs = 0; ; waitMs = Math.min(50, waitMs * 2 + 1)) {
    const state = connectionState(fd)
    if (state === 'connected') return { kind: 'connected', fd }
    const late = performance.now() + waitMs > untilMs
    if (state !== 'pending' || late) {
      closeSync(fd)
      return { kind: state === 'refused' ? 'refused' : 'busy' }
    }
    await sleep(waitMs)
  }
}
