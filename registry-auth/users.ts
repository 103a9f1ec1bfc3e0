import { AppError } from '../common/index.ts'
import type { Authenticator, Principal, RefreshTokens } from './authenticator.ts'
import { formatGrant, type Grant, parseGrant } from './grants.ts'
import { hashSecret, makeSecret, secretMatches } from './secret.ts'
import { TEMPORARY_PREFIX } from './temporary-credentials.ts'

/** A user of the local registry as it is stored; no secret can be read from it. */
export interface UserRecord {
  username: string
  /** SHA-256 of the generated password, hex; the anonymous user has none. */
  passwordHash?: string
  grants: readonly Grant[]
  /** SHA-256 of refresh tokens, hex, oldest first. */
  refreshHashes: readonly string[]
  createdAtMs: number
}

/** Where users are kept: read from memory, written durably. */
export interface UserStore {
  get(username: string): UserRecord | undefined
  list(): UserRecord[]
  put(user: UserRecord): Promise<void>
  delete(username: string): Promise<unknown>
}

const NAME = /^[a-z0-9][a-z0-9._-]{0,62}$/
const MAX_REFRESH_TOKENS = 16
/** Stands for everybody without a credential. It has rights, which can only be to pull, and no password. */
const ANONYMOUS = 'anonymous'

/**
 * The users of the local registry: people and machines that log in with a password made here, until they are revoked.
 * Rights are texts such as `pull,push:default/*` (`parseGrant`).
 */
export class RegistryUsers implements Authenticator, RefreshTokens {
  readonly #store: UserStore
  /** The last change: each reads what the one before it wrote. */
  #changes: Promise<unknown> = Promise.resolve()

  constructor(store: UserStore) {
    this.#store = store
  }

  /** What may be done without a credential. */
  anonymous(): readonly Grant[] {
    return this.#store.get(ANONYMOUS)?.grants ?? []
  }

  list(): { username: string; allow: string[] }[] {
    return this.#store.list().map(({ username, grants }) => ({ username, allow: grants.map(formatGrant) }))
  }

  /** Makes a user and answers the password, which is not kept. Throws `user-name-invalid`, `user-exists`, `grant-invalid`. */
  add(username: string, allow: readonly string[]): Promise<string> {
    return this.#change(async () => {
      checkName(username)
      const grants = allow.map(parseGrant)
      if (this.#store.get(username) !== undefined) {
        throw new AppError(`the registry has a user ${username} already`, { code: 'user-exists', fault: 'user' })
      }
      const password = makeSecret()
      const passwordHash = hashSecret(password)
      await this.#store.put({ username, passwordHash, grants, refreshHashes: [], createdAtMs: Date.now() })
      return password
    })
  }

  /**
   * Replaces a user's rights; tokens already given live on for a minute. `anonymous` is made by its first rights.
   * Throws `user-not-found`, `grant-invalid`.
   */
  setRights(username: string, allow: readonly string[]): Promise<void> {
    return this.#change(async () => {
      const grants = allow.map(parseGrant)
      const user = username === ANONYMOUS ? anonymousUser(grants) : this.#known(username)
      await this.#store.put({ ...user, grants })
    })
  }

  /** Removes a user with all logins; of `anonymous` all rights. Throws `user-not-found`. */
  revoke(username: string): Promise<void> {
    return this.#change(async () => {
      this.#known(username)
      await this.#store.delete(username)
    })
  }

  check(username: string, password: string): Principal | undefined {
    const user = this.#store.get(username)
    const matches = secretMatches(password, user?.passwordHash)
    return matches && user !== undefined ? principalOf(user) : undefined
  }

  /** A login for a user, `NAME.SECRET`; of more than 16 the oldest ends. Undefined for who is no user (a temporary credential). */
  issueRefresh(subject: string): Promise<string | undefined> {
    return this.#change(async () => {
      const user = this.#store.get(subject)
      if (user === undefined) return undefined
      const refreshToken = `${user.username}.${makeSecret()}`
      const refreshHashes = [...user.refreshHashes, hashSecret(refreshToken)].slice(-MAX_REFRESH_TOKENS)
      await this.#store.put({ ...user, refreshHashes })
      return refreshToken
    })
  }

  checkRefresh(refreshToken: string): Principal | undefined {
    const user = this.#store.get(refreshToken.slice(0, Math.max(refreshToken.lastIndexOf('.'), 0)))
    const hash = hashSecret(refreshToken)
    // The hash of 256 random bits: where a comparison of two stops, nobody can make use of.
    return user?.refreshHashes.includes(hash) === true ? principalOf(user) : undefined
  }

  #known(username: string): UserRecord {
    const user = this.#store.get(username)
    if (user !== undefined) return user
    throw new AppError(`the registry has no user ${username.slice(0, 100)}`, { code: 'user-not-found', fault: 'user' })
  }

  #change<T>(work: () => Promise<T>): Promise<T> {
    const done = this.#changes.then(work)
    this.#changes = done.catch(() => undefined)
    return done
  }
}

function checkName(username: string): void {
  if (NAME.test(username) && username !== ANONYMOUS && !username.startsWith(TEMPORARY_PREFIX)) return
  throw new AppError(`"${username.slice(0, 100)}" cannot be the name of a registry user`, {
    code: 'user-name-invalid',
    fault: 'user',
    hint:
      username === ANONYMOUS
        ? 'say what needs no login: slipway registry user rights anonymous --allow pull:PREFIX/*'
        : `use lower-case letters, digits, dots, dashes and underscores, beginning with a letter or digit and not with ${TEMPORARY_PREFIX}`,
  })
}

function principalOf({ username, grants }: UserRecord): Principal {
  return { subject: username, grants }
}

function anonymousUser(grants: readonly Grant[]): UserRecord {
  if (grants.some(({ actions }) => actions.some((action) => action !== 'pull'))) {
    throw new AppError('without a login nothing but pull can be allowed', {
      code: 'grant-invalid',
      fault: 'user',
      hint: 'add a user for pushes: slipway registry user add NAME --allow pull,push:PREFIX/*',
    })
  }
  return { username: ANONYMOUS, grants, refreshHashes: [], createdAtMs: Date.now() }
}
