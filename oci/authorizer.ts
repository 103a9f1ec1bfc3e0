import { performance } from 'node:perf_hooks'
import { AppError, SingleFlight } from '../common/index.ts'
import type { Challenge } from './challenge.ts'
import type { Credential } from './credential.ts'
import { redactUrl, refusedRealm } from './endpoint.ts'
import { addressRefused } from './guarded-lookup.ts'
import { unauthorized } from './registry-error.ts'

/** A request to a token server: GET, or POST of a form. */
export interface RealmRequest {
  url: URL
  headers: Record<string, string>
  form?: URLSearchParams
  what: string
}

/** Asks a token server; answers the body, throws on every status but 200. */
export type AskRealm = (request: RealmRequest) => Promise<Buffer>

interface Bearer {
  value: string
  /** On the monotonic clock: when four fifths of its announced life are over. */
  renewAtMs: number
}

const MAX_BEARERS = 64
const MAX_BEARER_LENGTH = 65_536
/** What a token lives when the answer does not say (distribution, token specification). */
const DEFAULT_EXPIRES_IN_S = 60

/**
 * What to send as `Authorization` to one registry. It learns the scheme from the first challenge, exchanges the credential
 * for one bearer per scope set, keeps each until it is nearly over, and asks for exactly the scopes of the caller,
 * whatever the challenge would like.
 */
export class Authorizer {
  readonly #registry: string
  readonly #origin: URL
  readonly #credential: Credential
  readonly #ask: AskRealm
  readonly #bearers = new Map<string, Bearer>()
  readonly #flights = new SingleFlight<Bearer>()
  #scheme: { kind: 'unknown' } | { kind: 'basic' } | { kind: 'bearer'; realm: URL; service: string | undefined } = {
    kind: 'unknown',
  }

  constructor(registry: string, origin: URL, credential: Credential, ask: AskRealm) {
    this.#registry = registry
    this.#origin = origin
    this.#credential = credential
    this.#ask = ask
  }

  /** The header for a request that needs these scopes; undefined before the registry has said what it wants. */
  async header(scopes: readonly string[], signal: AbortSignal | undefined): Promise<string | undefined> {
    const credential = this.#credential
    if ((credential.expiresAtMs ?? Number.POSITIVE_INFINITY) <= Date.now()) {
      throw new AppError(`the credential for ${this.#registry} has expired`, unauthorized(this.#registry, credential))
    }
    if (credential.kind === 'bearer') return `Bearer ${credential.token}`
    if (this.#scheme.kind === 'unknown') return undefined
    if (this.#scheme.kind === 'basic') return basicHeader(credential)
    return `Bearer ${await this.#bearer(scopes, this.#scheme.realm, this.#scheme.service, signal)}`
  }

  /** After a 401: takes in what the registry demands. Answers whether the request is worth one more try. */
  challenged(challenges: readonly Challenge[], scopes: readonly string[], sent: string | undefined): boolean {
    if (this.#credential.kind === 'bearer') return false
    const bearer = challenges.find(({ scheme, parameters }) => scheme === 'bearer' && parameters.has('realm'))
    if (bearer !== undefined) {
      const realm = this.#checkedRealm(bearer.parameters.get('realm') ?? '')
      this.#scheme = { kind: 'bearer', realm, service: bearer.parameters.get('service') }
      const key = scopeKey(scopes)
      // Only the token that was refused: another request may have got a new one meanwhile.
      if (sent === `Bearer ${this.#bearers.get(key)?.value}`) this.#bearers.delete(key)
      return true
    }
    if (!challenges.some(({ scheme }) => scheme === 'basic')) return false
    this.#scheme = { kind: 'basic' }
    return basicHeader(this.#credential) !== sent
  }

  async #bearer(
    scopes: readonly string[],
    realm: URL,
    service: string | undefined,
    signal: AbortSignal | undefined,
  ): Promise<string> {
    const key = scopeKey(scopes)
    const known = this.#bearers.get(key)
    if (known !== undefined && performance.now() < known.renewAtMs) return known.value
    const fresh = await this.#flights.run(key, () => this.#exchange(scopes, realm, service), signal)
    if (this.#bearers.size >= MAX_BEARERS) this.#bearers.clear()
    this.#bearers.set(key, fresh)
    return fresh.value
  }

  async #exchange(scopes: readonly string[], realm: URL, service: string | undefined): Promise<Bearer> {
    const askedAtMs = performance.now()
    const what = `token for ${scopes.join(' ') || this.#registry} from ${redactUrl(realm)}`
    const body = await this.#ask({ ...this.#realmRequest(scopes, realm, service), what })
    return readTokenAnswer(body, askedAtMs, what)
  }

  /** GET with the user's credentials (token specification); a refresh token is exchanged by POST (OAuth 2 specification). */
  #realmRequest(scopes: readonly string[], realm: URL, service: string | undefined): Omit<RealmRequest, 'what'> {
    const credential = this.#credential
    const url = new URL(realm)
    if (credential.kind === 'identity') {
      const form = new URLSearchParams({
        grant_type: 'refresh_token',
        client_id: 'slipway',
        refresh_token: credential.token,
      })
      if (service !== undefined) form.set('service', service)
      if (scopes.length > 0) form.set('scope', scopes.join(' '))
      return { url, headers: { 'content-type': 'application/x-www-form-urlencoded' }, form }
    }
    const basic = basicHeader(credential)
    if (service !== undefined) url.searchParams.set('service', service)
    for (const scope of scopes) url.searchParams.append('scope', scope)
    if (credential.kind === 'basic') url.searchParams.set('account', credential.username)
    return { url, headers: basic === undefined ? {} : { authorization: basic } }
  }

  /** The realm is chosen by the registry: the credential goes there only where `refusedRealm` sees no harm. */
  #checkedRealm(text: string): URL {
    const realm = URL.canParse(text) ? new URL(text) : undefined
    const why = realm === undefined ? 'it is no address' : refusedRealm(this.#origin, realm, this.#credential.reach)
    if (realm !== undefined && why === undefined) return realm
    const where = `the token server ${realm === undefined ? text.slice(0, 200) : redactUrl(realm)}`
    throw addressRefused(this.#registry, where, why ?? '')
  }
}

function scopeKey(scopes: readonly string[]): string {
  return [...scopes].sort().join(' ')
}

function basicHeader(credential: Credential): string | undefined {
  if (credential.kind !== 'basic') return undefined
  return `Basic ${Buffer.from(`${credential.username}:${credential.password}`).toString('base64')}`
}

function readTokenAnswer(body: Buffer, askedAtMs: number, what: string): Bearer {
  const unusable = (why: string): AppError =>
    new AppError(`${what} failed: the answer is unusable: ${why}`, { code: 'registry-error', fault: 'dependency' })
  let answer: unknown
  try {
    answer = JSON.parse(body.toString('utf8'))
  } catch {
    throw unusable('no JSON')
  }
  if (typeof answer !== 'object' || answer === null) throw unusable('no object')
  const token: unknown = Reflect.get(answer, 'token') ?? Reflect.get(answer, 'access_token')
  if (typeof token !== 'string' || !/^[\x21-\x7e]+$/.test(token)) throw unusable('no token in it')
  if (token.length > MAX_BEARER_LENGTH) throw unusable('the token is too long')
  const said: unknown = Reflect.get(answer, 'expires_in')
  const expiresInS = typeof said === 'number' && said > 0 ? said : DEFAULT_EXPIRES_IN_S
  return { value: token, renewAtMs: askedAtMs + Math.min(expiresInS, 86_400) * 800 }
}
