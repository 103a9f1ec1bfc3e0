import type { PullCredentialEntry } from '../../api/index.ts'
import { type Logger, messageOf } from '../../common/index.ts'
import type { Writer } from './writer.ts'

/** A pull credential as it is kept: by its hash, which opens nothing. */
export interface LedgerCredential
  extends Pick<
    PullCredentialEntry,
    'id' | 'namespace' | 'registry' | 'repository' | 'provider' | 'madeAtMs' | 'deadlineMs'
  > {
  /** SHA-256 of the password, hex; null where another registry's provider made it. */
  secretHash: string | null
}

export interface LedgerChange {
  firstUsedAtMs?: number
  bearers?: number
  endedAtMs?: number
  endReason?: string
}

/** A start that waits for the download of a credential, `number` from 0 for each credential. */
export interface LedgerStart {
  credential: string
  number: number
  namespace: string
  function: string
  version: string
  instance: string | null
  joinedAtMs: number
}

export interface LedgerQuery {
  /** Nothing older. */
  sinceMs?: number
  namespace?: string
  limit: number
}

/** One still in force, with what was counted so far. */
export interface CredentialInForce extends LedgerCredential {
  bearers: number
}

/**
 * What is kept of every pull credential. A new one is durable before it is handed out; the rest is written at the next commit and may be
 * lost with the machine (not with the process): the deadline holds all the same.
 */
export interface CredentialLedger {
  /** Those that were in force when the store was opened. */
  readonly inForce: readonly CredentialInForce[]
  add(credential: LedgerCredential): Promise<void>
  /** Never waits, never throws. */
  change(id: string, change: LedgerChange): void
  /** The same start again replaces it. Never waits, never throws. */
  putStart(start: LedgerStart): void
  /** Newest first, each with its starts. */
  list(query: LedgerQuery): Promise<PullCredentialEntry[]>
  get(id: string): Promise<PullCredentialEntry | undefined>
}

export class WriterLedger implements CredentialLedger {
  readonly inForce: readonly CredentialInForce[]
  readonly #writer: Writer
  readonly #logger: Logger

  constructor(writer: Writer, inForce: readonly CredentialInForce[], logger: Logger) {
    this.#writer = writer
    this.inForce = inForce
    this.#logger = logger
  }

  async add(credential: LedgerCredential): Promise<void> {
    await this.#writer.request('addCredential', { credential })
  }

  change(id: string, change: LedgerChange): void {
    this.#writer.request('changeCredential', { id, change }).catch((thrown: unknown) => this.#lost(id, thrown))
  }

  putStart(start: LedgerStart): void {
    const { credential } = start
    this.#writer.request('putCredentialStart', { start }).catch((thrown: unknown) => this.#lost(credential, thrown))
  }

  list(query: LedgerQuery): Promise<PullCredentialEntry[]> {
    return this.#writer.request('listCredentials', { query })
  }

  get(id: string): Promise<PullCredentialEntry | undefined> {
    return this.#writer.request('getCredential', { id })
  }

  #lost(credential: string, thrown: unknown): void {
    this.#logger.warn({ credential, why: messageOf(thrown) }, 'an entry of the credential ledger was lost')
  }
}
