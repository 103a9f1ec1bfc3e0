import { randomUUID } from 'node:crypto'
import { SignJWT } from 'jose'
import type { Authenticator, Principal, RefreshTokens } from './authenticator.ts'
import { allowedAccess, type Grant } from './grants.ts'
import { type Access, formatScope, parseScopes } from './scope.ts'
import type { SigningKeys } from './signing-keys.ts'
import { json, refusal, type TokenAnswer, tooManyWrong, unauthorized, writesPaused } from './token-answers.ts'
import { BEARER_SECONDS, WriteGate } from './write-gate.ts'
import { WrongPasswords } from './wrong-passwords.ts'

/** A request for a token, read from HTTP (`tokenHandler`): GET with Basic, or POST with a form. */
export interface TokenRequest {
  method: 'GET' | 'POST'
  query: URLSearchParams
  /** The `Authorization` header. */
  authorization: string | undefined
  /** The body of a POST; empty for GET. */
  form: URLSearchParams
  /** Where it came from: wrong passwords are counted by address. */
  address: string
}

/** What became of one request for a token. Holds no secret; the name of a user only if there is one (people type passwords there). */
export interface TokenAudit {
  /** `limited`: a wrong password too many from this address; `paused`: no bearer that writes is given now. */
  outcome: 'issued' | 'refused' | 'limited' | 'paused'
  /** The empty text for anonymous, and for who is not known. */
  subject: string
  address: string
  login: Login
  asked: string
  allowed: string
}

type Login = 'anonymous' | 'basic' | 'password' | 'refresh_token'

export interface TokenServerOptions {
  /** `aud` of the tokens: the `service` of the registry's configuration. */
  service: string
  issuer: string
  keys: SigningKeys
  authenticator: Authenticator
  /** Without it no refresh token is given or taken. */
  refreshTokens?: RefreshTokens
  /** What may be done without a credential. Default nothing. */
  anonymous?: () => readonly Grant[]
  gate?: WriteGate
  wrongPasswords?: WrongPasswords
  audit?: (audit: TokenAudit) => void
  now?: () => number
}

/** Said to clients, which renew after it; never less than 60 (distribution, token specification). */
const EXPIRES_IN_S = 60
const MAX_CREDENTIAL_LENGTH = 4096
const MAX_AUDIT_LENGTH = 500

/**
 * The token server of the local registry (distribution, token and OAuth2 specifications). A wrong user name or password is 401;
 * a missing right is a token that lacks it, which the registry refuses. Tokens: ES256 with the leaf's certificate in `x5c`, `aud` a
 * text, the form that registries of versions 2.8 and 3 accept (facts registry-auth 2).
 */
export class TokenServer {
  readonly #options: TokenServerOptions
  readonly #gate: WriteGate
  readonly #wrongPasswords: WrongPasswords
  readonly #now: () => number

  constructor(options: TokenServerOptions) {
    this.#options = options
    this.#now = options.now ?? Date.now
    this.#gate = options.gate ?? new WriteGate({ now: this.#now })
    this.#wrongPasswords = options.wrongPasswords ?? new WrongPasswords({ now: this.#now })
  }

  /** Answers GET and POST; never throws for what a client sent. */
  async answer(request: TokenRequest): Promise<TokenAnswer> {
    const parameters = request.method === 'GET' ? request.query : request.form
    const service = parameters.get('service')
    if (service !== null && service !== this.#options.service) {
      return refusal(400, 'invalid_request', `this server issues no tokens for the service ${service.slice(0, 100)}`)
    }
    const asked = parseScopes(parameters.getAll('scope'))
    if (asked === undefined) return refusal(400, 'invalid_scope', 'too many or too long scopes')
    const login = loginOf(request)
    if (login === undefined) {
      return refusal(400, 'unsupported_grant_type', 'grant_type must be password or refresh_token')
    }
    const principal = this.#identify(login, request)
    if (principal === undefined) return this.#refuse(request.address, login, asked)
    const allowed = allowedAccess(principal.grants, asked)
    const audit = { subject: principal.subject, address: request.address, login, ...scopesOf(asked, allowed) }
    const retryAfterS = this.#gate.ask(principal.subject, allowed)
    if (retryAfterS !== undefined) {
      this.#options.audit?.({ outcome: 'paused', ...audit })
      return writesPaused(retryAfterS)
    }
    const answer = await this.#issue(principal, allowed, wantsRefreshToken(parameters))
    this.#options.audit?.({ outcome: 'issued', ...audit })
    return answer
  }

  #identify(login: Login, { authorization, form }: TokenRequest): Principal | undefined {
    if (login === 'anonymous') return { subject: '', grants: this.#options.anonymous?.() ?? [] }
    if (login === 'refresh_token') return this.#options.refreshTokens?.checkRefresh(credentialOf(form, 'refresh_token'))
    const { username, password } =
      login === 'password'
        ? { username: credentialOf(form, 'username'), password: credentialOf(form, 'password') }
        : readBasic(authorization ?? '')
    return this.#options.authenticator.check(username, password)
  }

  #refuse(address: string, login: Login, asked: readonly Access[]): TokenAnswer {
    const retryAfterS = this.#wrongPasswords.count(address)
    const outcome = retryAfterS === undefined ? 'refused' : 'limited'
    this.#options.audit?.({ outcome, subject: '', address, login, ...scopesOf(asked, []) })
    return retryAfterS === undefined ? unauthorized() : tooManyWrong(retryAfterS)
  }

  async #issue(principal: Principal, access: readonly Access[], offline: boolean): Promise<TokenAnswer> {
    const nowMs = this.#now()
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
      .setExpirationTime(iat + BEARER_SECONDS)
      .setJti(randomUUID())
      .sign(privateKey)
  }
}

/** How a client says who it is; undefined for a grant that is not known. */
function loginOf({ method, authorization, form }: TokenRequest): Login | undefined {
  if (method === 'GET') return authorization === undefined || authorization === '' ? 'anonymous' : 'basic'
  const grantType = form.get('grant_type')
  return grantType === 'password' || grantType === 'refresh_token' ? grantType : undefined
}

function credentialOf(form: URLSearchParams, name: string): string {
  return (form.get(name) ?? '').slice(0, MAX_CREDENTIAL_LENGTH)
}

/** Who comes with a refresh token has one already. */
function wantsRefreshToken(parameters: URLSearchParams): boolean {
  if (parameters.get('grant_type') === 'refresh_token') return false
  return parameters.get('offline_token') === 'true' || parameters.get('access_type') === 'offline'
}

/** What is no Basic credential is the empty name, which nobody has. */
function readBasic(header: string): { username: string; password: string } {
  const encoded = /^Basic +([A-Za-z0-9+/_-]+=*) *$/i.exec(header.slice(0, 2 * MAX_CREDENTIAL_LENGTH))?.[1] ?? ''
  const text = Buffer.from(encoded, 'base64').toString('utf8')
  const colon = text.indexOf(':')
  return { username: text.slice(0, Math.max(colon, 0)), password: text.slice(colon + 1) }
}

function scopesOf(asked: readonly Access[], allowed: readonly Access[]): { asked: string; allowed: string } {
  const text = (access: readonly Access[]): string => access.map(formatScope).join(' ').slice(0, MAX_AUDIT_LENGTH)
  return { asked: text(asked), allowed: text(allowed) }
}
