import type { Grant } from './grants.ts'

/** Who asks for a token, as far as tokens go. */
export interface Principal {
  /** `sub` of the token: the registry's notifications name it. */
  subject: string
  grants: readonly Grant[]
  /**
   * Seconds from `iat` to `exp` of its tokens. Registries accept 60 s more (facts registry-auth 2); answers say
   * `expires_in: 60` whatever stands here, so that clients renew in time.
   */
  tokenSeconds: number
}

/** Whose user names and passwords the token server takes. */
export interface Authenticator {
  /** Undefined for a name that is not known here, a wrong password, and a credential that has ended. */
  check(username: string, password: string): Principal | undefined
}

/** Logins that outlive the password prompt (`docker login`): opaque, bound to their user, good only at the token server. */
export interface RefreshTokens {
  issueRefresh(subject: string): Promise<string | undefined>
  checkRefresh(refreshToken: string): Principal | undefined
}

/** Tries each in turn. */
export function firstOf(...authenticators: readonly Authenticator[]): Authenticator {
  return {
    check(username, password) {
      for (const authenticator of authenticators) {
        const principal = authenticator.check(username, password)
        if (principal !== undefined) return principal
      }
      return undefined
    },
  }
}
