import { AppError } from '../common/index.ts'
import { addressKind, literalAddress } from './address.ts'
import type { Reach } from './credential.ts'
import { HUB_HOST, isDockerHub } from './docker-hub.ts'

/** Host names and addresses that never leave this machine: spoken to over plain HTTP. */
export function isLoopback(hostname: string): boolean {
  const literal = literalAddress(hostname)
  return literal === undefined ? hostname.toLowerCase() === 'localhost' : addressKind(literal) === 'loopback'
}

/**
 * Where a registry answers: `127.0.0.1:5000` is `http://127.0.0.1:5000`, every host that is not loopback is https unless its entry
 * allows plain HTTP.
 */
export function registryOrigin(registry: string, reach: Reach = {}): URL {
  const host = isDockerHub(registry) ? HUB_HOST : registry
  const https = parse(`https://${host}`, registry)
  return isLoopback(https.hostname) || reach.plainHttp === true ? parse(`http://${host}`, registry) : https
}

function parse(text: string, registry: string): URL {
  if (!URL.canParse(text)) {
    throw new AppError(`registry "${registry.slice(0, 300)}" is no host name`, {
      code: 'reference-invalid',
      fault: 'user',
      hint: 'write HOST or HOST:PORT',
    })
  }
  return new URL(text)
}

/**
 * Whether a client of the registry at `origin` may speak to `target`: the registry itself, a redirect, an upload location, a token
 * realm. https anywhere that is public; the registry's own origin as it is; plain HTTP only from loopback to loopback; private
 * addresses only where the registry's entry allows them; link-local ones never. Answers the reason of a refusal, or undefined.
 * What a name resolves to is looked at when it is connected to (`guardedLookup`).
 */
export function refusedDestination(origin: URL, target: URL, reach: Reach = {}): string | undefined {
  if (target.username !== '' || target.password !== '') return 'the address carries a user name'
  const literal = literalAddress(target.hostname)
  const wall = literal === undefined ? undefined : refusedAddress(origin, target.hostname, literal, reach)
  if (wall !== undefined) return wall
  if (target.origin === origin.origin) return undefined
  if (isLoopback(target.hostname)) {
    return isLoopback(origin.hostname) ? undefined : 'it leads to the loopback of this machine'
  }
  return target.protocol === 'https:' ? undefined : 'it leads to an address without https'
}

/** Whether the client of the registry at `origin` may connect to this address of `hostname`. Answers the reason of a refusal. */
export function refusedAddress(origin: URL, hostname: string, address: string, reach: Reach): string | undefined {
  const kind = addressKind(address)
  if (kind === 'public') return undefined
  if (kind === 'never') return `${address} is a link-local or reserved address`
  if (kind === 'private') {
    return reach.allowPrivate === true ? undefined : `${address} is an address of a private network`
  }
  // That the registry, or the token server that its entry names, is a name of this machine is its own affair; that it leads here is not.
  const named =
    hostname === origin.hostname || (reach.realm !== undefined && hostname === new URL(reach.realm).hostname)
  return isLoopback(origin.hostname) || (reach.allowPrivate === true && named)
    ? undefined
    : `${address} is the loopback of this machine`
}

/**
 * Token servers on another host than their registry, each pair as its provider documents it:
 * Docker Hub (docs.docker.com, "Registry authentication": `realm="https://auth.docker.io/token"`), GitLab.com (docs.gitlab.com,
 * "Container registry administration": the registry's `auth.token.realm` is `/jwt/auth` of the GitLab host).
 */
const KNOWN_REALMS: Readonly<Record<string, string>> = {
  [HUB_HOST]: 'https://auth.docker.io',
  'registry.gitlab.com': 'https://gitlab.com',
}

/** Parameters that we put into a token request ourselves; a realm that brings its own asks for more than the request needs. */
const OWN_PARAMETERS = ['scope', 'account', 'client_id', 'grant_type', 'offline_token', 'access_type', 'refresh_token']

/**
 * Whether a credential for the registry at `origin` may be shown to the token server `realm`, which the registry chose: the same
 * host, a pair that is known, or what the registry's entry names. Answers the reason of a refusal, or undefined.
 */
export function refusedRealm(origin: URL, realm: URL, reach: Reach = {}): string | undefined {
  const own = OWN_PARAMETERS.find((name) => realm.searchParams.has(name))
  if (own !== undefined) return `it brings its own ${own}`
  const named = reach.realm !== undefined && new URL(reach.realm).origin === realm.origin
  const literal = literalAddress(realm.hostname)
  if (named && realm.protocol === 'http:' && reach.plainHttp === true) {
    return literal === undefined ? undefined : refusedAddress(origin, realm.hostname, literal, reach)
  }
  const wall = refusedDestination(origin, realm, reach)
  if (wall !== undefined) return wall
  const local = isLoopback(origin.hostname) && isLoopback(realm.hostname)
  const known = KNOWN_REALMS[origin.hostname] === realm.origin
  return named || known || local || realm.hostname === origin.hostname ? undefined : 'it lies on another host'
}

/** Query values that say what is asked for and are never a secret. */
const SHOWN = ['service', 'scope', 'mount', 'from', 'digest']

/** A URL for messages and logs: other query values are replaced, since they carry signatures and tokens. */
export function redactUrl(url: URL): string {
  const value = (name: string): string =>
    SHOWN.includes(name) ? url.searchParams.getAll(name).join(' ').slice(0, 200) : '…'
  const names = [...new Set(url.searchParams.keys())].map((name) => `${name}=${value(name)}`).join('&')
  return `${url.origin}${url.pathname}${names === '' ? '' : `?${names}`}`
}
