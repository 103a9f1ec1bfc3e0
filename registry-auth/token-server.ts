import { randomUUID } from 'node:crypto'
import { SignJWT } from 'jose'
import type { Authenticator, Principal, RefreshTokens } from './authenticator.ts'
import { allowedAccess, type Grant } from './grants.ts'
import { type Access, formatScope, parseScopes } from './scope.ts'
import type { SigningKeys } from './signing-keys.ts'

/** A request for a token, read from HTTP (`tokenHandler`): GET with Basic, or POST with a form. */
export interface TokenRequest {
  method: 'GET' | 'POST'
  query: URLSearchParams
  /** The `Authorization` header. */
  authorization: string | undefined
  /** The body of a POST; empty for GET. */
  form: URLSearchParams
}

export interface TokenAnswer {
  status: number
  headers: Record<string, string>
  body: string
}

export interface TokenServerOptions {
  /** `aud` of the tokens: the `service` of the registry's configuration. */
  service: string
  issuer: string
  keys: SigningKeys
  authenticator: Authenticator
  /** Without it no refresh token is given or taken. */
  refreshTokens?: RefreshTokens
  /** What may be done without a credential. Default nothing. */
  anonymous?: readonly Grant[]
  now?: () => number
}

/** Said to clients, which renew after it; never less than 60 (distribution, token specification). */
const EXPIRES_IN_S = 60
const MAX_CREDENTIAL_LENGTH = 4096

/**
 * The token server of the local registry (distribution, token and OAuth2 specifications). A wrong user name or password is 401;
 * a missing right is a token that lacks it, which the registry refuses. Tokens: ES256 with the leaf's certificate in `x5c`, `aud` a
 * text, the form that registries of versions 2.8 and 3 accept (facts registry-auth 2).
 */
export class TokenServer {
  readonly #options: TokenServerOptions
  readonly #now: () => number

  constructor(options: TokenServerOptions) {
    this.#options = options
    this.#now = options.now ?? Date.now
  }

  /** Answers GET and POST; never throws for what a client sent. */
  async answer(request: TokenRequest): Promise<TokenAnswer> {
    const parameters = request.method === 'GET' ? request.query : request.form
    const service = parameters.get('service')
    if (service !== null && service !== this.#options.service) {
      return refusal(400, 'invalid_request', `this server issues no tokens for the service ${service.slice(0, 100)}`)
    }
    const access = parseScopes(parameters.getAll('scope'))
    if (access === undefined) return refusal(400, 'invalid_scope', 'too many or too long scopes')
    const principal = request.method === 'GET' ? this.#basic(request.authorization) : this.#form(request.form)
    if (!isPrincipal(principal)) return principal
    return this.#issue(principal, access, wantsRefreshToken(parameters))
  }

  #basic(authorization: string | undefined): Principal | TokenAnswer {
    if (authorization === undefined || authorization === '') {
      return { subject: '', grants: this.#options.anonymous ?? [], tokenSeconds: EXPIRES_IN_S }
    }
    const credential = readBasic(authorization)
    if (credential === undefined) return unauthorized()
    return this.#options.authenticator.check(credential.username, credential.password) ?? unauthorized()
  }

  #form(form: URLSearchParams): Principal | TokenAnswer {
    const value = (name: string): string => (form.get(name) ?? '').slice(0, MAX_CREDENTIAL_LENGTH)
    const grantType = value('grant_type')
    if (grantType === 'password') {
      return this.#options.authenticator.check(value('username'), value('password')) ?? unauthorized()
    }
    if (grantType === 'refresh_token') {
      return this.#options.refreshTokens?.checkRefresh(value('refresh_token')) ?? unauthorized()
    }
    return refusal(400, 'unsupported_grant_type', 'grant_type must be password or refresh_token')
  }

  async #issue(principal: Principal, requested: readonly Access[], offline: boolean): Promise<TokenAnswer> {
    const nowMs = this.#now()
    const access = allowedAccess(principal.grants, requested)
    const token = await this.#sign(principal, access, nowMs)
    const refreshToken = offline ? await this.#options.refreshTokens?.issueRefresh(principal.subject) : undefined
    return json(200, {
      token,
      access_token: token,
      expires_in: EXPIRES_IN_S,
      issued_at: new Date(nowMs).toISOString(),
      scope: access.map(formatScope).join(' '),
      ...(refreshToken === undefined ? {} : { refresh_token: refreshToken }),
    })
  }

  #sign(principal: Principal, access: readonly Access[], nowMs: number): Promise<string> {
    const { privateKey, x5c } = this.#options.keys.current(nowMs)
    const iat = Math.floor(nowMs / 1000)
    return new SignJWT({ access })
      .setProtectedHeader({ alg: 'ES256', typ: 'JWT', x5c })
      .setIssuer(this.#options.issuer)
      .setSubject(principal.subject)
      .setAudience(this.#options.service)
      .setIssuedAt(iat)
      .setNotBefore(iat)
      .setExpirationTime(iat + principal.tokenSeconds)
      .setJti(randomUUID())
      .sign(privateKey)
  }
}

/** Who comes with a refresh token has one already. */
function wantsRefreshToken(parameters: URLSearchParams): boolean {
  if (parameters.get('grant_type') === 'refresh_token') return false
  return parameters.get('offline_token') === 'true' || parameters.get('access_type') === 'offline'
}

function isPrincipal(answer: Principal | TokenAnswer): answer is Principal {
  return 'grants' in answer
}

function readBasic(header: string): { username: string; password: string } | undefined {
  const encoded = /^Basic +([A-Za-z0-9+/_-]+=*) *$/i.exec(header.slice(0, 2 * MAX_CREDENTIAL_LENGTH))?.[1]
  if (encoded === undefined) return undefined
  const text = Buffer.from(encoded, 'base64').toString('utf8')
  const colon = text.indexOf(':')
  return colon <= 0 ? undefined : { username: text.slice(0, colon), password: text.slice(colon + 1) }
}

function unauthorized(): TokenAnswer {
  const answer = refusal(401, 'invalid_grant', 'wrong user name or password, or a credential that has ended')
  return { ...answer, headers: { ...answer.headers, 'www-authenticate': 'Basic realm="slipway registry"' } }
}

/** Both forms in one body: registry clients show `errors`, OAuth2 clients `error`. */
function refusal(status: number, error: string, message: string): TokenAnswer {
  const code = status === 401 ? 'UNAUTHORIZED' : 'UNSUPPORTED'
  return json(status, { error, error_description: message, errors: [{ code, message, detail: null }] })
}

function json(status: number, value: object): TokenAnswer {
  const headers = { 'content-type': 'application/json', 'cache-control': 'no-store' }
  return { status, headers, body: JSON.stringify(value) }
}
