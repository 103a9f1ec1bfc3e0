import { type Logger, messageOf } from '../common/index.ts'
import type { HostClient } from '../runtime-shim/index.ts'
import type { PullCredentialIssuer } from './pull-credentials.ts'

const ANSWER_MS = 10_000

/**
 * Keeps credentials and downloads together where no call does: after this server or the supervisor was replaced. A download goes on
 * without the server that began it; a credential without a download ends, and a download without a credential is ended, since its
 * engine would go on asking for minutes.
 */
export class PullDownloads {
  readonly #host: HostClient
  readonly #issuer: PullCredentialIssuer
  readonly #logger: Logger
  /** Issued by an earlier server: no call of this one ends them. */
  readonly #inherited: Set<string>

  constructor(host: HostClient, issuer: PullCredentialIssuer, logger: Logger) {
    this.#host = host
    this.#issuer = issuer
    this.#logger = logger
    this.#inherited = new Set(issuer.idsInForce())
    host.on('downloadEnded', ({ download }) => this.#over(download, 'download ended'))
    host.onReconnect(() => void this.reconcile())
  }

  /** Compares what is in force with what the supervisor fetches. Before the first start of this server. */
  async reconcile(): Promise<void> {
    try {
      const { downloads } = await this.#host.call('downloads', {}, AbortSignal.timeout(ANSWER_MS))
      for (const id of this.#inherited) if (!downloads.includes(id)) this.#over(id, 'nobody fetches with it any more')
      for (const id of downloads) if (!this.#issuer.isInForce(id)) await this.#cancel(id, 'its credential is lost')
    } catch (thrown) {
      this.#logger.error({ err: messageOf(thrown) }, 'downloads under way are not known')
    }
  }

  /** Refuses the credential from now on and ends its download at once. Answers whether it was in force. */
  async end(id: string, reason: string): Promise<boolean> {
    const ended = this.#issuer.end(id, reason)
    if (ended) await this.#cancel(id, reason)
    return ended
  }

  #over(id: string, reason: string): void {
    if (this.#inherited.delete(id)) this.#issuer.end(id, reason)
  }

  async #cancel(id: string, reason: string): Promise<void> {
    this.#logger.warn({ credential: id, reason }, 'download cancelled')
    await this.#host.call('cancelDownload', { download: id, reason }, AbortSignal.timeout(ANSWER_MS))
  }
}
