import { type Logger, machineMs, machineToUnixMs, messageOf } from '../../common/index.ts'
import type { CallLease } from './lease-layout.ts'
import type { LeaseWatch } from './lease-watch.ts'

/** The server ends overdue work itself; the supervisor does it this much later, for when the server is frozen or dead. */
const MARGIN_MS = 1_000
const LOOK_EVERY_MS = 250

export interface DeadlinesOptions {
  leases: LeaseWatch
  stop: (instance: string, reason: string) => Promise<void>
  /** Ends an instance with calls in it if the kernel has killed a process of it for memory. */
  endOutOfMemory: (instance: string) => Promise<void>
  logger: Logger
}

/** Which instances must end now: those with a call past its deadline (dead servers' calls at it, living ones' a margin later). */
export function overdue(leases: { living: CallLease[]; orphaned: CallLease[] }, nowMs: number): Set<string> {
  return new Set([
    ...leases.living.filter((lease) => nowMs > lease.deadlineMs + MARGIN_MS).map((lease) => lease.instance),
    ...leases.orphaned.filter((lease) => nowMs > lease.deadlineMs).map((lease) => lease.instance),
  ])
}

/** Reads the lease files a few times a second and ends what is overdue, whatever state the server is in. */
export class Deadlines {
  readonly #options: DeadlinesOptions
  readonly #timer: NodeJS.Timeout
  #orphaned: CallLease[] = []
  /** Those that are being ended: told once, however often they are seen meanwhile. */
  readonly #ending = new Set<string>()

  constructor(options: DeadlinesOptions) {
    this.#options = options
    this.#timer = setInterval(() => this.look(machineMs()), LOOK_EVERY_MS)
  }

  /** The last deadline of calls that dead servers left open in an instance, in Unix time. */
  leasedUntil(instance: string): number | null {
    const own = this.#orphaned.filter((lease) => lease.instance === instance).map((lease) => lease.deadlineMs)
    return own.length === 0 ? null : Math.max(0, Math.round(machineToUnixMs(Math.max(...own))))
  }

  /** `nowMs` by `machineMs`. */
  look(nowMs: number): void {
    const { leases, stop, logger } = this.#options
    try {
      const open = leases.read(nowMs)
      this.#orphaned = open.orphaned
      for (const instance of overdue(open, nowMs)) {
        if (this.#ending.has(instance)) continue
        this.#ending.add(instance)
        stop(instance, 'a call is past its deadline')
          .catch((thrown: unknown) => {
            logger.error({ instance, err: messageOf(thrown) }, 'overdue instance could not be stopped')
          })
          .finally(() => this.#ending.delete(instance))
      }
      for (const instance of new Set(open.living.map((lease) => lease.instance))) {
        this.#options.endOutOfMemory(instance).catch((thrown: unknown) => {
          logger.error({ instance, err: messageOf(thrown) }, 'instance without memory could not be ended')
        })
      }
      leases.forgetDead((lease) => nowMs <= lease.deadlineMs + MARGIN_MS, nowMs)
    } catch (thrown) {
      logger.error({ err: messageOf(thrown) }, 'leases could not be read')
    }
  }

  close(): void {
    clearInterval(this.#timer)
  }
}
