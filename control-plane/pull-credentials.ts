import { randomBytes } from 'node:crypto'
import type { Version } from '../api/index.ts'
import type { CredentialSource, TemporaryCredential, TemporaryCredentials } from '../registry-auth/index.ts'
import { TEMPORARY_PREFIX } from '../registry-auth/index.ts'
import type { PullCredential, PullCredentials } from '../runtime-shim/index.ts'
import type { CredentialLedger } from './store/ledger.ts'

export interface PullCredentialIssuerOptions {
  ledger: CredentialLedger
  temporary: TemporaryCredentials
  localRegistry: string
  /** Credentials for every other registry. */
  others: CredentialSource
  /** Throws `image-not-allowed` when functions of the namespace may not run images of that repository now. */
  requireRight: (version: Version) => void
}

interface InForce {
  bearers: number
  deadline: NodeJS.Timeout
}

/** What the ledger says of why a credential ended, beside reasons that people give. */
const END = { download: 'download ended', failed: 'download failed', deadline: 'deadline' } as const
const LOOK_MS = 60_000
const MAX_REASON = 200

/**
 * One credential for each download: a temporary one for the local registry, for others what `others` answers. Each is in the ledger
 * before it is handed out (a temporary one by its hash, so that the next server knows it too), and ends with its download.
 */
export class PullCredentialIssuer implements PullCredentials {
  readonly #options: PullCredentialIssuerOptions
  readonly #inForce = new Map<string, InForce>()

  /** Takes in what an earlier server issued and did not end. */
  constructor(options: PullCredentialIssuerOptions) {
    this.#options = options
    for (const { id, repository, secretHash, deadlineMs, bearers } of options.ledger.inForce) {
      this.#follow(id, deadlineMs, bearers)
      if (secretHash === null) continue
      const grants = [{ repository, actions: ['pull'] }] as const
      options.temporary.restore({ username: id, secretHash, grants, deadlineMs })
    }
  }

  check(version: Version): void {
    this.#options.requireRight(version)
  }

  async issue(version: Version, deadlineMs: number, signal: AbortSignal): Promise<PullCredential> {
    const { registry, repository } = version.image
    if (registry !== this.#options.localRegistry) return this.#fromOthers(version, deadlineMs, signal)
    const issued = this.#options.temporary.issuePull(repository, deadlineMs)
    const { username, password, secretHash } = issued
    try {
      await this.#enter(version, { id: username, provider: 'local', deadlineMs, secretHash })
    } catch (thrown) {
      issued.end()
      throw thrown
    }
    return this.#handOut(username, { kind: 'basic', username, password, expiresAtMs: Math.ceil(deadlineMs) })
  }

  /** A temporary credential was exchanged for a bearer. */
  used(id: string): void {
    const inForce = this.#inForce.get(id)
    if (inForce === undefined) return
    inForce.bearers += 1
    this.#options.ledger.change(id, { firstUsedAtMs: Date.now(), bearers: inForce.bearers })
  }

  isInForce(id: string): boolean {
    return this.#inForce.has(id)
  }

  idsInForce(): string[] {
    return [...this.#inForce.keys()]
  }

  /** Refused from now on. Answers whether it was in force. */
  end(id: string, reason: string): boolean {
    const inForce = this.#inForce.get(id)
    if (inForce === undefined) return false
    this.#inForce.delete(id)
    clearTimeout(inForce.deadline)
    this.#options.temporary.end(id)
    const endReason = reason.slice(0, MAX_REASON)
    this.#options.ledger.change(id, { endedAtMs: Date.now(), endReason, bearers: inForce.bearers })
    return true
  }

  /** What another registry's provider answered lives as long as the provider says; the ledger keeps that it was used for this download. */
  async #fromOthers(version: Version, deadlineMs: number, signal: AbortSignal): Promise<PullCredential> {
    const { registry, repository } = version.image
    const credential = await this.#options.others.for(registry, repository, 'pull', signal)
    const id = `${TEMPORARY_PREFIX}${randomBytes(9).toString('hex')}`
    const provider = credential.source ?? credential.kind
    await this.#enter(version, { id, provider, deadlineMs, secretHash: null })
    return this.#handOut(id, credential)
  }

  async #enter(
    { namespace, image: { registry, repository } }: Version,
    made: { id: string; provider: string; deadlineMs: number; secretHash: string | null },
  ): Promise<void> {
    await this.#options.ledger.add({ ...made, namespace, registry, repository, madeAtMs: Date.now() })
    this.#follow(made.id, made.deadlineMs, 0)
  }

  #follow(id: string, deadlineMs: number, bearers: number): void {
    const deadline = setTimeout(() => this.end(id, END.deadline), Math.max(0, deadlineMs - Date.now()))
    this.#inForce.set(id, { bearers, deadline: deadline.unref() })
  }

  #handOut(id: string, credential: PullCredential['credential']): PullCredential {
    let starts = 0
    return {
      id,
      credential,
      joined: (version) => this.#joined(id, starts++, version),
      end: (failure) => void this.end(id, failure === undefined ? END.download : `${END.failed}: ${failure}`),
    }
  }

  #joined(id: string, number: number, version: Version): (instance: string) => void {
    const start = {
      credential: id,
      number,
      namespace: version.namespace,
      function: version.function,
      version: `${version.version}@${version.revision}`,
      instance: null,
      joinedAtMs: Date.now(),
    }
    this.#options.ledger.putStart(start)
    return (instance) => this.#options.ledger.putStart({ ...start, instance })
  }
}

/** For looking at an image when it is deployed: reads manifests only, and ends with the look. */
export interface LookCredential {
  credential: Awaited<ReturnType<CredentialSource['for']>>
  end(): void
}

export function lookCredentials(
  temporary: TemporaryCredentials,
  localRegistry: string,
  others: CredentialSource,
): (registry: string, repository: string, signal: AbortSignal) => Promise<LookCredential> {
  return async (registry, repository, signal) => {
    if (registry !== localRegistry) {
      const credential = await others.for(registry, repository, 'pull', signal)
      return { credential, end: () => undefined }
    }
    const issued: TemporaryCredential = temporary.issuePull(repository, Date.now() + LOOK_MS)
    const { username, password } = issued
    return { credential: { kind: 'basic', username, password }, end: () => issued.end() }
  }
}
