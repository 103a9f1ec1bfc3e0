/** Where a request goes, decided by host and path alone. */
export type Route =
  /** The API, by fastify. */
  | { kind: 'api' }
  /** The token server of the local registry: it reads its own bodies. */
  | { kind: 'registry-token' }
  /** A call of an event function. `query` without its question mark. */
  | { kind: 'event'; namespace: string; name: string; query: string }
  /** A call of a web function. `path` is what the function sees; `prefix` is what was removed, null on a host of its own. */
  | { kind: 'web'; namespace: string; name: string; path: string; prefix: string | null }
  /** `/web/NAMESPACE/NAME` lacks its slash: relative links of the page would lead astray. */
  | { kind: 'redirect'; location: string }
  | { kind: 'not-served' }

export interface ServedHosts {
  /** Names that the API answers to, lower-case, without port. Others are refused: a page on another name that resolves here must not reach it. */
  api: ReadonlySet<string>
  /** `localhost`: a web function is NAME.NAMESPACE.localhost. */
  webSuffixes: readonly string[]
}

const EVENT = /^\/v1\/namespaces\/([a-z0-9-]{1,60})\/functions\/([a-z0-9-]{1,60})\/invocations(?:\?(.*))?$/
const WEB_PATH = /^(\/web\/([a-z0-9-]{1,60})\/([a-z0-9-]{1,60}))([/?].*)?$/
const TOKEN_PATH = /^\/registry\/token(?:\?|$)/

/** `host` is a Host header's value, `target` is in origin form or `*`; both have passed `readStrictly`. */
export function routeRequest(method: string, host: string, target: string, served: ServedHosts): Route {
  const name = hostName(host)
  if (!served.api.has(name)) return webHost(name, target, served.webSuffixes)
  if (method === 'POST') {
    const event = EVENT.exec(target)
    if (event !== null) return { kind: 'event', namespace: event[1] ?? '', name: event[2] ?? '', query: event[3] ?? '' }
  }
  const web = WEB_PATH.exec(target)
  if (web !== null) return webPath(method, web)
  return TOKEN_PATH.test(target) ? { kind: 'registry-token' } : { kind: 'api' }
}

/** Lower-case, without port and without the dot that ends a full name. */
export function hostName(host: string): string {
  return host
    .toLowerCase()
    .replace(/:[0-9]*$/, '')
    .replace(/\.$/, '')
}

function webHost(host: string, path: string, suffixes: readonly string[]): Route {
  const suffix = suffixes.find((candidate) => host.endsWith(`.${candidate}`))
  const labels = suffix === undefined ? [] : host.slice(0, -suffix.length - 1).split('.')
  const [name, namespace] = labels
  if (labels.length !== 2 || !name || !namespace) return { kind: 'not-served' }
  return { kind: 'web', namespace, name, path, prefix: null }
}

function webPath(method: string, match: RegExpExecArray): Route {
  const [, prefix = '', namespace = '', name = '', rest = ''] = match
  if (rest.startsWith('/')) return { kind: 'web', namespace, name, path: rest, prefix }
  if (method === 'GET' || method === 'HEAD') return { kind: 'redirect', location: `${prefix}/${rest}` }
  return { kind: 'web', namespace, name, path: `/${rest}`, prefix }
}
