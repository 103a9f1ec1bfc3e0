import { hash, timingSafeEqual } from 'node:crypto'
import type { Access } from '../api/index.ts'
import { AppError } from '../common/index.ts'

/** Who calls. So far there is the administrator only; tokens of namespaces bring their own rights. */
export interface Identity {
  name: string
  allows(right: Access, namespace: string | undefined): boolean
}

const ADMIN: Identity = { name: 'admin', allows: () => true }
const NOBODY: Identity = { name: 'nobody', allows: (right) => right === 'open' }
const BEARER = /^bearer +([\x21-\x7e]{1,4096})$/i

export class AccessControl {
  readonly #adminTokenSha256: Buffer
  /** The header that was accepted last: comparing with it costs a tenth of a hash, and nearly every call brings it again. */
  #accepted: Buffer | undefined

  /** `adminTokenSha256` in hex: the server is never given the token itself. */
  constructor(adminTokenSha256: string) {
    this.#adminTokenSha256 = Buffer.from(adminTokenSha256, 'hex')
    if (this.#adminTokenSha256.length !== 32) throw new TypeError('adminTokenSha256 must be 64 hex digits')
  }

  /**
   * Who the `Authorization` header says is calling, if that one may. All comparisons take constant time: what the answer takes
   * says nothing about the token. Throws `unauthorized` (no valid token), `access-denied` (not this right).
   */
  require(right: Access, authorization: string | undefined, namespace?: string): Identity {
    const identity = this.#identify(authorization)
    if (identity.allows(right, namespace)) return identity
    if (identity === NOBODY) {
      throw new AppError(authorization === undefined ? 'the request has no token' : 'the token is not valid', {
        code: 'unauthorized',
        fault: 'user',
        hint: 'send "Authorization: Bearer TOKEN"; the CLI finds the token by itself or in SLIPWAY_TOKEN',
      })
    }
    throw new AppError(`${identity.name} has not the right ${right} in namespace ${namespace ?? '(all)'}`, {
      code: 'access-denied',
      fault: 'user',
    })
  }

  #identify(authorization: string | undefined): Identity {
    if (authorization === undefined) return NOBODY
    const header = Buffer.from(authorization)
    if (header.length === this.#accepted?.length && timingSafeEqual(header, this.#accepted)) return ADMIN
    const token = BEARER.exec(authorization)?.[1]
    if (token === undefined || !timingSafeEqual(hash('sha256', token, 'buffer'), this.#adminTokenSha256)) return NOBODY
    this.#accepted = header
    return ADMIN
  }
}
