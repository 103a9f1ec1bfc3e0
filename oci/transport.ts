import type { LookupFunction } from 'node:net'
import type { Readable } from 'node:stream'
import type { Agent, Dispatcher } from 'undici'
import { AppError, retry } from '../common/index.ts'
import { Authorizer, type RealmRequest } from './authorizer.ts'
import { parseChallenges } from './challenge.ts'
import type { Credential } from './credential.ts'
import { redactUrl, refusedDestination, registryOrigin } from './endpoint.ts'
import { describeChallenges, type Exchange } from './exchange.ts'
import { addressRefused, guardedLookup } from './guarded-lookup.ts'
import { readBeginning, readBody } from './http-body.ts'
import { refusalError } from './registry-error.ts'
import { retryAfterMs, retryDecision, unreachableError } from './registry-retry.ts'

export interface TransportOptions {
  registry: string
  credential: Credential
  signal?: AbortSignal
  /** Told each answer, of the registry as of its token server. */
  onExchange?: (exchange: Exchange) => void
  /** How names are resolved. Default: as the system does. */
  lookup?: LookupFunction
}

export interface RegistryRequest {
  method: 'GET' | 'HEAD' | 'POST' | 'PUT' | 'DELETE'
  /** A path from `/v2/`, or a whole address (upload location, next page). */
  url: string | URL
  /** What the request needs: `repository:NAME:pull`. */
  scopes: readonly string[]
  headers?: Record<string, string>
  /** A stream is made anew for each try. */
  body?: Uint8Array | (() => Readable)
  /** Verb phrase for messages: `pull of manifest latest from default/hello`. */
  what: string
  /** Statuses that are an answer; all others become errors. */
  accept: readonly number[]
  /** Tries in all. Default 5. */
  attempts?: number
}

/** An answer with its body still to be read, or dumped, by the caller. */
export type RegistryResponse = Dispatcher.ResponseData

/** Connections as registries are spoken to: bounded in number and in each kind of silence. */
const CONNECTIONS = { connections: 16, headersTimeout: 60_000, bodyTimeout: 60_000 }
const CONNECT_TIMEOUT_MS = 10_000
const MAX_REDIRECTS = 5
const MAX_TOKEN_ANSWER_BYTES = 262_144
const REDIRECTS = [301, 302, 303, 307, 308]

/**
 * HTTP to one registry: authorisation, redirects (never with `Authorization` to another host), and retries with backoff
 * of what may pass. What a pull or a push is made of lies in the files above it.
 */
export class Transport {
  readonly registry: string
  readonly origin: URL
  readonly signal: AbortSignal | undefined
  readonly #options: TransportOptions
  readonly #authorizer: Authorizer
  #agent: Agent | undefined

  constructor(options: TransportOptions) {
    this.registry = options.registry
    this.origin = registryOrigin(options.registry, options.credential.reach)
    this.signal = options.signal
    this.#options = options
    this.#authorizer = new Authorizer(options.registry, this.origin, options.credential, (asked) =>
      this.#askRealm(asked),
    )
  }

  /** Sends until an accepted status comes back; the body is the caller's to read. */
  open(request: RegistryRequest): Promise<RegistryResponse> {
    return this.retried(() => this.#attempt(request), request.attempts)
  }

  /** As `open`, with the body read whole: a cut in the middle of it is tried again too. */
  read(
    request: RegistryRequest,
    maxBytes: number,
  ): Promise<{ status: number; headers: RegistryResponse['headers']; body: Buffer }> {
    return this.retried(async () => {
      const response = await this.#attempt(request)
      const body = await this.#reached(request.what, readBody(response.body, maxBytes, request.what))
      return { status: response.statusCode, headers: response.headers, body }
    }, request.attempts)
  }

  /** Tries again what may pass, with backoff, at most `attempts` times (default 5); an abort ends it with the reason of the signal. */
  async retried<T>(work: () => Promise<T>, attempts = 5): Promise<T> {
    try {
      const { signal } = this
      return await retry(work, { attempts, retryable: retryDecision, ...(signal === undefined ? {} : { signal }) })
    } catch (thrown) {
      this.signal?.throwIfAborted()
      throw thrown
    }
  }

  /** Ends the connections. */
  async close(): Promise<void> {
    await this.#agent?.destroy()
  }

  /** An address that the registry gave for a next request (upload location, page), checked. */
  resolveLocation(location: string, base: URL): URL {
    const url = URL.canParse(location, base) ? new URL(location, base) : undefined
    if (url === undefined) throw addressRefused(this.registry, `"${location.slice(0, 200)}"`, 'it is no address')
    return this.#allowed(url)
  }

  /** Throws `registry-address-refused` for where the clients of this registry may not go. */
  #allowed(url: URL): URL {
    const why = refusedDestination(this.origin, url, this.#options.credential.reach)
    if (why === undefined) return url
    throw addressRefused(this.registry, redactUrl(url), why)
  }

  /** One try; a 401 that teaches how to authorise is followed by one more request. */
  async #attempt(request: RegistryRequest): Promise<RegistryResponse> {
    const url = this.#allowed(typeof request.url === 'string' ? new URL(request.url, this.origin) : request.url)
    for (let challenges = 0; ; challenges += 1) {
      const authorization = await this.#authorizer.header(request.scopes, this.signal)
      const { response, redirected } = await this.#follow(request, url, authorization)
      if (request.accept.includes(response.statusCode)) return response
      const body = await readBeginning(response.body)
      const demanded = redirected ? [] : parseChallenges(headerText(response.headers['www-authenticate']))
      const repeat =
        response.statusCode === 401 &&
        challenges === 0 &&
        this.#authorizer.challenged(demanded, request.scopes, authorization)
      if (!repeat) throw this.#refusal(request, response, body, redirected)
    }
  }

  #refusal(
    { what, scopes }: Pick<RegistryRequest, 'what' | 'scopes'>,
    { statusCode, headers }: RegistryResponse,
    body: string,
    redirected: boolean,
  ): AppError {
    const challenges = parseChallenges(headerText(headers['www-authenticate']))
    return refusalError(this.registry, what, {
      status: statusCode,
      body,
      redirected,
      insufficientScope: challenges.some(({ parameters }) => parameters.get('error') === 'insufficient_scope'),
      retryAfterMs: retryAfterMs(headerText(headers['retry-after']), Date.now()),
      scopes,
      credential: this.#options.credential,
    })
  }

  /** Follows redirects of GET and HEAD; `Authorization` goes to the registry's own origin only. */
  async #follow(
    request: RegistryRequest,
    start: URL,
    authorization: string | undefined,
  ): Promise<{ response: RegistryResponse; redirected: boolean }> {
    let url = start
    for (let hops = 0; ; hops += 1) {
      const own = url.origin === this.origin.origin
      const headers = { ...request.headers, ...(own && authorization !== undefined ? { authorization } : {}) }
      const response = await this.#send(request.what, url, request.method, headers, request.body)
      const location = headerText(response.headers['location'])
      const leads = REDIRECTS.includes(response.statusCode) && location !== ''
      if (!leads || (request.method !== 'GET' && request.method !== 'HEAD')) return { response, redirected: !own }
      await response.body.dump()
      if (hops === MAX_REDIRECTS) {
        throw new AppError(`${request.what} failed: ${this.registry} redirected more than ${MAX_REDIRECTS} times`, {
          code: 'registry-error',
          fault: 'dependency',
        })
      }
      url = this.resolveLocation(location, url)
    }
  }

  async #send(
    what: string,
    url: URL,
    method: RegistryRequest['method'],
    headers: Record<string, string>,
    body?: RegistryRequest['body'],
  ): Promise<RegistryResponse> {
    const content = typeof body === 'function' ? body() : body
    // Loaded when first used: it takes 12 MB, and many processes that know images ask no registry.
    const undici = await import('undici')
    const sent = undici.request(url, {
      method,
      headers: { 'user-agent': 'slipway', 'accept-encoding': 'identity', ...headers },
      dispatcher: (this.#agent ??= this.#makeAgent(undici)),
      ...(content === undefined ? {} : { body: content }),
      ...(this.signal === undefined ? {} : { signal: this.signal }),
    })
    const response = await this.#reached(what, sent)
    this.#tell(method, url, headers, response)
    return response
  }

  #makeAgent(undici: { Agent: typeof Agent }): Agent {
    const { credential, lookup } = this.#options
    const guarded = guardedLookup(this.registry, this.origin, credential.reach ?? {}, lookup)
    return new undici.Agent({ ...CONNECTIONS, connect: { timeout: CONNECT_TIMEOUT_MS, lookup: guarded } })
  }

  #tell(method: string, url: URL, headers: Record<string, string>, response: RegistryResponse): void {
    const { onExchange } = this.#options
    if (onExchange === undefined) return
    const challenges = parseChallenges(headerText(response.headers['www-authenticate']))
    onExchange({
      asked: `${method} ${redactUrl(url)}`,
      authorization: headers['authorization']?.split(' ', 1)[0]?.toLowerCase() ?? 'none',
      status: response.statusCode,
      ...(challenges.length === 0 ? {} : { challenge: describeChallenges(challenges) }),
    })
  }

  /** A token server that redirects is refused: where the credential may go was judged by the realm. */
  async #askRealm({ url, headers, form, what }: RealmRequest): Promise<Buffer> {
    const body = form === undefined ? undefined : Buffer.from(form.toString())
    const response = await this.#send(what, url, body === undefined ? 'GET' : 'POST', headers, body)
    if (response.statusCode !== 200) {
      throw this.#refusal({ what, scopes: [] }, response, await readBeginning(response.body), false)
    }
    return this.#reached(what, readBody(response.body, MAX_TOKEN_ANSWER_BYTES, what))
  }

  /** Names what could not be reached. */
  async #reached<T>(what: string, work: Promise<T>): Promise<T> {
    try {
      return await work
    } catch (thrown) {
      throw unreachableError(this.registry, what, thrown)
    }
  }
}

export function headerText(value: string | string[] | undefined): string {
  return Array.isArray(value) ? value.join(', ') : (value ?? '')
}
