import type { Version } from '../../api/index.ts'
import type { InstallationIdentity } from '../instances/index.ts'

export const REQUEST_ID_HEADER = 'x-scf-request-id'

/** What the platform adds to every call (facts: scf-contract 1.5); a caller's headers of these names never reach the function. */
export function platformHeaders(
  version: Version,
  requestId: string,
  identity: InstallationIdentity,
): Record<string, string> {
  return { [REQUEST_ID_HEADER]: requestId, ...versionHeaders(version, identity) }
}

/** The same without what differs from call to call. */
export function versionHeaders(version: Version, identity: InstallationIdentity): Record<string, string> {
  const { settings } = version
  return {
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

/** Never a trailer, whoever sends it: what frames, routes, controls or authorises a message (RFC 9110 6.5.1). */
const NO_TRAILER =
  /^(?:content-(?:length|encoding|type|range)|host|trailer|expect|max-forwards|range|if-.*|cache-control|age|date|expires|location|retry-after|vary|pragma|authorization|www-authenticate|(?:set-)?cookie|forwarded|x-forwarded-.*|x-request-id)$/

export interface ForwardContext {
  remoteAddress: string
  /** Whether the caller speaks https to us. */
  secure: boolean
  /** RFC 9110 10.1.1: `Expect` goes to the function only where it can be answered. */
  expect: boolean
  prefix: string | null
  platform: Record<string, string>
}

/**
 * The caller's headers for the function: order and repetition kept, hop-by-hop fields and ours removed, ours added. Of what is said about the
 * way here, only the lists of addresses are kept: protocol and host are what the caller used with us.
 */
export function forwardRequestHeaders(rawHeaders: readonly string[], context: ForwardContext): string[] {
  const connection = namedByConnection(rawHeaders)
  const headers: string[] = []
  const forwardedFor: string[] = []
  const forwarded: string[] = []
  let host = ''
  for (let at = 0; at + 1 < rawHeaders.length; at += 2) {
    const name = rawHeaders[at] ?? ''
    const value = rawHeaders[at + 1] ?? ''
    const lower = name.toLowerCase()
    if (HOP_BY_HOP.has(lower) || connection?.has(lower) === true || isOurs(lower)) continue
    switch (lower) {
      case 'x-forwarded-for':
        forwardedFor.push(value)
        continue
      case 'forwarded':
        forwarded.push(value)
        continue
      // Told again by whoever sends trailers.
      case 'trailer':
      case 'x-forwarded-prefix':
      case 'x-forwarded-proto':
      case 'x-forwarded-host':
        continue
      case 'expect':
        if (!context.expect) continue
        break
      case 'host':
        host = value
    }
    headers.push(name, value)
  }
  const { remoteAddress } = context
  const protocol = context.secure ? 'https' : 'http'
  forwardedFor.push(remoteAddress)
  forwarded.push(`for=${nodeOf(remoteAddress)};host="${host}";proto=${protocol}`)
  headers.push('X-Forwarded-For', forwardedFor.join(', '), 'X-Forwarded-Proto', protocol, 'X-Forwarded-Host', host)
  headers.push('Forwarded', forwarded.join(', '))
  if (context.prefix !== null) headers.push('X-Forwarded-Prefix', context.prefix)
  for (const [name, value] of Object.entries(context.platform)) headers.push(name, value)
  return headers
}

/** RFC 7239 6: an IPv6 address in brackets and quotes. */
function nodeOf(address: string): string {
  return address.includes(':') ? `"[${address}]"` : address
}

/** Every name of ours begins with `x-scf-` or `x-slipway-`. */
function isOurs(lower: string): boolean {
  return lower.charCodeAt(0) === 0x78 && OURS.test(lower)
}

/** What an interim answer says, but for what belongs to the connection or is ours. */
export function forwardInterimHeaders(rawHeaders: readonly string[]): string[] {
  const connection = namedByConnection(rawHeaders)
  return [...pairs(rawHeaders)].flatMap(([name, value]) => {
    const lower = name.toLowerCase()
    return HOP_BY_HOP.has(lower) || connection?.has(lower) === true || isOurs(lower) ? [] : [name, value]
  })
}

/** The function's headers for the caller: hop-by-hop fields, ours and those in `without` (lower-case) removed, repetition kept. */
export function forwardResponseHeaders(
  rawHeaders: readonly string[],
  requestId: string,
  without: readonly string[] = [],
): string[] {
  const connection = namedByConnection(rawHeaders)
  const headers: string[] = []
  for (let at = 0; at + 1 < rawHeaders.length; at += 2) {
    const name = rawHeaders[at] ?? ''
    const value = rawHeaders[at + 1] ?? ''
    const lower = name.toLowerCase()
    if (HOP_BY_HOP.has(lower) || connection?.has(lower) === true || isOurs(lower)) continue
    if (lower !== 'x-request-id' && !without.includes(lower)) headers.push(name, value)
  }
  headers.push('X-Request-Id', requestId, 'X-Slipway-Status', '200')
  return headers
}

/** Trailers of either side as pairs, without what has no place there. */
export function forwardTrailers(rawTrailers: readonly string[]): [string, string][] {
  return [...pairs(rawTrailers)].filter(([name]) => {
    const lower = name.toLowerCase()
    return !HOP_BY_HOP.has(lower) && !NO_TRAILER.test(lower) && !OURS.test(lower)
  })
}

/** Undefined where it names nothing that is not hop-by-hop by itself. */
function namedByConnection(rawHeaders: readonly string[]): Set<string> | undefined {
  let named: Set<string> | undefined
  for (let at = 0; at + 1 < rawHeaders.length; at += 2) {
    const name = rawHeaders[at] ?? ''
    if (name.length !== 10 || name.toLowerCase() !== 'connection') continue
    const value = (rawHeaders[at + 1] ?? '').toLowerCase()
    if (value === 'keep-alive' || value === 'close') continue
    named ??= new Set()
    for (const token of value.split(',')) named.add(token.trim())
  }
  return named
}

function* pairs(raw: readonly string[]): Generator<[string, string]> {
  for (let at = 0; at + 1 < raw.length; at += 2) yield [raw[at] ?? '', raw[at + 1] ?? '']
}
