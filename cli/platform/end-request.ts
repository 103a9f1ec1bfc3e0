import type { Parent } from '../../runtime-shim/host/index.ts'
import type { Steps } from './steps.ts'

const STOP_GRACE_MS = 15_000
/** Signals this close together are one: a terminal's Ctrl-C reaches this process and the one that started it. */
const SAME_SIGNAL_MS = 500

/** What Ctrl-C and `slipway down` do to the parent: the platform ends first. A second one does not wait. */
export class EndRequest {
  readonly #steps: Steps
  readonly #ended = Promise.withResolvers<void>()
  #parent: Parent | undefined
  #firstAtMs = 0

  constructor(steps: Steps) {
    this.#steps = steps
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => this.#asked())
  }

  /** Resolves when the platform of this parent has been asked to end and has ended. */
  ends(parent: Parent): Promise<void> {
    this.#parent = parent
    return this.#ended.promise
  }

  #asked(): void {
    const { resolve } = this.#ended
    if (this.#parent === undefined) process.exit(1)
    if (this.#firstAtMs !== 0) {
      if (Date.now() - this.#firstAtMs > SAME_SIGNAL_MS) process.exit(1)
      return
    }
    this.#firstAtMs = Date.now()
    const parent = this.#parent
    if (process.env['SLIPWAY_KEEP_INSTANCES'] === '1') {
      parent.leave()
      resolve()
      return
    }
    this.#steps.run('stopping', () => parent.close(STOP_GRACE_MS)).then(resolve, resolve)
  }
}
