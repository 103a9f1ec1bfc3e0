import { AppError } from '../../common/index.ts'
import type { PreparedImage } from '../engines/engine.ts'

interface Download {
  controller: AbortController
  image: Promise<PreparedImage>
}

/**
 * The downloads under way, by the id of their credential. They belong to the supervisor: a server that is killed leaves them going, and
 * the next one learns from here which credentials still have work, and ends those that have none.
 */
export class DownloadTable {
  readonly #running = new Map<string, Download>()
  readonly #onEnded: (name: string) => void

  constructor(onEnded: (name: string) => void) {
    this.#onEnded = onEnded
  }

  /** Runs `work`, or joins the download of this name that goes on already. `late` bounds a new one. */
  run(name: string, work: (signal: AbortSignal) => Promise<PreparedImage>, late: AbortSignal): Promise<PreparedImage> {
    const running = this.#running.get(name)
    if (running !== undefined) return running.image
    const controller = new AbortController()
    const image = work(AbortSignal.any([controller.signal, late])).finally(() => {
      this.#running.delete(name)
      this.#onEnded(name)
    })
    this.#running.set(name, { controller, image })
    return image
  }

  names(): string[] {
    return [...this.#running.keys()]
  }

  /** Ends one at once. Without it an engine whose credential is refused goes on asking for minutes (facts registry-auth 9). */
  cancel(name: string, reason: string): void {
    this.#running.get(name)?.controller.abort(
      new AppError(`the download was ended: ${reason}`, {
        code: 'pull-cancelled',
        retryable: true,
        hint: 'the next start makes a credential of its own',
      }),
    )
  }
}
