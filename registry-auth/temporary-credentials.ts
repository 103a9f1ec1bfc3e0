import { randomBytes } from 'node:crypto'
import { AppError } from '../common/index.ts'
import type { Authenticator, Principal } from './authenticator.ts'
import type { Grant } from './grants.ts'
import { hashSecret, makeSecret, secretMatches } from './secret.ts'

/** A user name and password for one piece of work (a pull, a build); refused by the token server from `end()` or the deadline on. */
export interface TemporaryCredential {
  username: string
  password: string
  end(): void
}

interface Issued {
  secretHash: string
  grants: readonly Grant[]
  deadlineMs: number
}

export const TEMPORARY_PREFIX = 'temporary-'

const MAX_CREDENTIALS = 10_000
/** With the registry's leeway of 60 s, a bearer of one second really lives 61 s (measured: facts registry-auth 9). */
const TOKEN_SECONDS = 1

/** Credentials that exist in memory only, each as long as the work it was made for. */
export class TemporaryCredentials implements Authenticator {
  readonly #issued = new Map<string, Issued>()
  readonly #now: () => number

  constructor(now: () => number = Date.now) {
    this.#now = now
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
    this.#issued.set(username, { secretHash: hashSecret(password), grants, deadlineMs })
    return { username, password, end: () => void this.#issued.delete(username) }
  }

  check(username: string, password: string): Principal | undefined {
    const issued = this.#issued.get(username)
    if (issued === undefined || !secretMatches(password, issued.secretHash)) return undefined
    if (this.#now() >= issued.deadlineMs) {
      this.#issued.delete(username)
      return undefined
    }
    return { subject: username, grants: issued.grants, tokenSeconds: TOKEN_SECONDS }
  }

  #forgetEnded(): void {
    const nowMs = this.#now()
    for (const [username, { deadlineMs }] of this.#issued) {
      if (nowMs >= deadlineMs) this.#issued.delete(username)
    }
  }
}
