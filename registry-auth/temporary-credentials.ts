import { randomBytes } from 'node:crypto'
import { AppError } from '../common/index.ts'
import type { Authenticator, Principal } from './authenticator.ts'
import type { Grant } from './grants.ts'
import { hashSecret, makeSecret, secretMatches } from './secret.ts'

/** A user name and password for one piece of work (a pull, a build); refused by the token server from `end()` or the deadline on. */
export interface TemporaryCredential {
  username: string
  password: string
  /** SHA-256 of the password, hex: what may be stored. */
  secretHash: string
  end(): void
}

/** A credential as it may be stored: whoever reads it cannot log in. */
export interface IssuedCredential {
  username: string
  secretHash: string
  grants: readonly Grant[]
  /** ms since 1970; refused from then on. */
  deadlineMs: number
}

export interface TemporaryCredentialsOptions {
  now?: () => number
  /** Told each time a credential is taken, which is once for each bearer that is made from it. */
  onUse?: (username: string) => void
}

export const TEMPORARY_PREFIX = 'temporary-'

const MAX_CREDENTIALS = 10_000

/** Credentials in force, each as long as the work it was made for. What has to outlive this process is stored by who issues it, and `restore`d. */
export class TemporaryCredentials implements Authenticator {
  readonly #issued = new Map<string, IssuedCredential>()
  readonly #now: () => number
  readonly #onUse: (username: string) => void

  constructor({ now = Date.now, onUse = () => undefined }: TemporaryCredentialsOptions = {}) {
    this.#now = now
    this.#onUse = onUse
  }

  /** How many are in force. */
  get size(): number {
    this.#forgetEnded()
    return this.#issued.size
  }

  /** For one download: `pull` on one repository until `deadlineMs` (ms since 1970). Throws `credentials-exhausted`. */
  issuePull(repository: string, deadlineMs: number): TemporaryCredential {
    return this.issue([{ repository, actions: ['pull'] }], deadlineMs)
  }

  /** For work that needs more than one download, for example a build that pushes. Throws `credentials-exhausted`. */
  issue(grants: readonly Grant[], deadlineMs: number): TemporaryCredential {
    if (this.#issued.size >= MAX_CREDENTIALS) this.#forgetEnded()
    if (this.#issued.size >= MAX_CREDENTIALS) {
      throw new AppError(`${MAX_CREDENTIALS} temporary credentials are in force`, {
        code: 'credentials-exhausted',
        retryable: true,
        hint: 'wait until some of the pulls and builds have ended',
      })
    }
    const username = `${TEMPORARY_PREFIX}${randomBytes(9).toString('hex')}`
    const password = makeSecret()
    const secretHash = hashSecret(password)
    this.#issued.set(username, { username, secretHash, grants, deadlineMs })
    return { username, password, secretHash, end: () => this.end(username) }
  }

  /** Takes in a credential that an earlier process issued. */
  restore(issued: IssuedCredential): void {
    this.#issued.set(issued.username, issued)
  }

  /** Refused from now on. Idempotent. */
  end(username: string): void {
    this.#issued.delete(username)
  }

  check(username: string, password: string): Principal | undefined {
    const issued = this.#issued.get(username)
    if (!secretMatches(password, issued?.secretHash) || issued === undefined) return undefined
    if (this.#now() >= issued.deadlineMs) {
      this.#issued.delete(username)
      return undefined
    }
    this.#onUse(username)
    return { subject: username, grants: issued.grants }
  }

  #forgetEnded(): void {
    const nowMs = this.#now()
    for (const [username, { deadlineMs }] of this.#issued) {
      if (nowMs >= deadlineMs) this.#issued.delete(username)
    }
  }
}
