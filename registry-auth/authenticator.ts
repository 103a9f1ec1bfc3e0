import type { Grant } from './grants.ts'

/** Who asks for a token, as far as tokens go. */
export interface Principal {
  /** `sub` of the token: the registry's notifications name it. */
  subject: string
  grants: readonly Grant[]
}

/** Whose user names and passwords the token server takes. */
export interface Authenticator {
  /** Takes as long for a name that is not known as for one that is. Undefined for a name that is not known here, a wrong password, and a credential that has ended. */
  check(username: string, password: string): Principal | undefined
}

/** Logins that outlive the password prompt (`docker login`): opaque, bound to their user, good only at the token server. */
export interface RefreshTokens {
  issueRefresh(subject: string): Promise<string | undefined>
  checkRefresh(refreshToken: string): Principal | undefined
}

/** The first that knows the name and password. All are asked each time: how long it takes says nothing about who knows a name. */
export function firstOf(...authenticators: readonly Authenticator[]): Authenticator {
  return {
    check(username, password) {
      const principals = authenticators.map((authenticator) => authenticator.check(username, password))
      return principals.find((principal) => principal !== undefined)
    },
  }
}
