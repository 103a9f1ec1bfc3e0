import type { Version } from '../../api/index.ts'
import type { InstallationIdentity } from '../instances/index.ts'

/** What the platform adds to every call (facts: scf-contract 1.5); a caller's headers of these names never reach the function. */
export function platformHeaders(
  version: Version,
  requestId: string,
  identity: InstallationIdentity,
): Record<string, string> {
  const { settings } = version
  return {
    'x-scf-request-id': requestId,
    'x-scf-memory': String(settings.memory),
    'x-scf-timeout': String(settings.timeout * 1_000),
    'x-scf-version': version.version,
    'x-scf-name': version.function,
    'x-scf-namespace': version.namespace,
    'x-scf-region': identity.region,
    'x-scf-appid': identity.appId,
    'x-scf-uin': identity.uin,
  }
}

/** RFC 9110 7.6.1: these belong to one connection and are not passed on. */
const HOP_BY_HOP = new Set([
  'connection',
  'keep-alive',
  'proxy-authenticate',
  'proxy-authorization',
  'proxy-connection',
  'te',
  'transfer-encoding',
  'upgrade',
])

/** Ours, whoever sends them (DESIGN: stripped when a function sends X-Slipway-Status; a caller cannot set X-Scf-*). */
const OURS = /^x-(?:scf|slipway)-/

/** Never a trailer, whoever sends it: what frames, routes or authorises a message (RFC 9110 6.5.1). */
const NO_TRAILER = new Set([
  'content-length',
  'host',
  'trailer',
  'content-encoding',
  'content-type',
  'content-range',
  'authorization',
  'set-cookie',
  'expect',
])

export interface ForwardContext {
  remoteAddress: string
  /** RFC 9110 10.1.1: `Expect` goes to the function only where it can be answered. */
  expect: boolean
  prefix: string | null
  platform: Record<string, string>
}

/** The caller's headers for the function: order and repetition kept, hop-by-hop fields and ours removed, ours added. */
export function forwardRequestHeaders(rawHeaders: readonly string[], context: ForwardContext): string[] {
  const connection = namedByConnection(rawHeaders)
  const headers: string[] = []
  let forwardedFor = context.remoteAddress
  let host = ''
  for (const [name, value] of pairs(rawHeaders)) {
    const lower = name.toLowerCase()
    if (HOP_BY_HOP.has(lower) || connection.has(lower) || OURS.test(lower)) continue
    if (lower === 'x-forwarded-for') {
      forwardedFor = `${value}, ${context.remoteAddress}`
      continue
    }
    // Told again by whoever sends trailers or waits for 100.
    if (lower === 'trailer' || (lower === 'expect' && !context.expect)) continue
    if (lower === 'x-forwarded-prefix' || lower === 'x-forwarded-proto' || lower === 'x-forwarded-host') continue
    if (lower === 'host') host = value
    headers.push(name, value)
  }
  headers.push('X-Forwarded-For', forwardedFor, 'X-Forwarded-Proto', 'http', 'X-Forwarded-Host', host)
  if (context.prefix !== null) headers.push('X-Forwarded-Prefix', context.prefix)
  for (const [name, value] of Object.entries(context.platform)) headers.push(name, value)
  return headers
}

/** The function's headers for the caller: hop-by-hop fields, ours and those in `without` (lower-case) removed, repetition kept. */
export function forwardResponseHeaders(
  rawHeaders: readonly string[],
  requestId: string,
  without: readonly string[] = [],
): string[] {
  const connection = namedByConnection(rawHeaders)
  const headers: string[] = []
  for (const [name, value] of pairs(rawHeaders)) {
    const lower = name.toLowerCase()
    if (HOP_BY_HOP.has(lower) || connection.has(lower) || OURS.test(lower)) continue
    if (lower !== 'x-request-id' && !without.includes(lower)) headers.push(name, value)
  }
  headers.push('X-Request-Id', requestId, 'X-Slipway-Status', '200')
  return headers
}

/** Trailers of either side as pairs, without what has no place there. */
export function forwardTrailers(rawTrailers: readonly string[]): [string, string][] {
  return [...pairs(rawTrailers)].filter(([name]) => {
    const lower = name.toLowerCase()
    return !HOP_BY_HOP.has(lower) && !NO_TRAILER.has(lower) && !OURS.test(lower)
  })
}

function namedByConnection(rawHeaders: readonly string[]): Set<string> {
  const named = new Set<string>()
  for (const [name, value] of pairs(rawHeaders)) {
    if (name.toLowerCase() !== 'connection') continue
    for (const token of value.split(',')) named.add(token.trim().toLowerCase())
  }
  return named
}

function* pairs(raw: readonly string[]): Generator<[string, string]> {
  for (let at = 0; at + 1 < raw.length; at += 2) yield [raw[at] ?? '', raw[at + 1] ?? '']
}
