import type { OutgoingHttpHeader, OutgoingHttpHeaders, ServerResponse } from 'node:http'

/**
 * A web function that is reached below a path shares its host with the API, the console and every other function. So its pages get
 * an opaque origin (CSP sandbox), its cookies stay below its prefix, and it cannot speak for the whole host.
 */
const SANDBOX = 'sandbox allow-scripts allow-forms'
/** Fields that act on the whole host, not on one path of it. */
const HOST_WIDE = new Set(['clear-site-data', 'strict-transport-security', 'service-worker-allowed', 'alt-svc'])

/** Names and values alternating, in and out. */
export function confineHeaders(raw: readonly string[], prefix: string): string[] {
  const confined: string[] = []
  for (let at = 0; at + 1 < raw.length; at += 2) {
    const name = raw[at] ?? ''
    const value = raw[at + 1] ?? ''
    const lower = name.toLowerCase()
    if (HOST_WIDE.has(lower)) continue
    if (lower !== 'set-cookie') confined.push(name, value)
    else {
      const cookie = confineCookie(value, prefix)
      if (cookie !== undefined) confined.push(name, cookie)
    }
  }
  // Beside the function's own policy, not instead of it: browsers enforce every policy that they are given.
  confined.push('Content-Security-Policy', SANDBOX)
  return confined
}

/** Undefined for a cookie that by its name must belong to the whole host. */
function confineCookie(cookie: string, prefix: string): string | undefined {
  const [pair = '', ...attributes] = cookie.split(';').map((part) => part.trim())
  if (/^__host-/i.test(pair)) return undefined
  const path = attributes.findLast((attribute) => /^path\s*=/i.test(attribute))?.replace(/^path\s*=\s*/i, '') ?? '/'
  const inside = path === prefix || path.startsWith(`${prefix}/`)
  const confinedPath = inside ? path : `${prefix}${path.startsWith('/') ? path : '/'}`
  const kept = attributes.filter((attribute) => !/^(?:path|domain)\s*(?:=|$)/i.test(attribute))
  return [pair, ...kept, `Path=${confinedPath}`].join('; ')
}

type Headers = OutgoingHttpHeaders | OutgoingHttpHeader[]

/** Has every head that is written to `response` pass `confineHeaders`, whoever writes it and however. */
export function confineAnswer(response: ServerResponse, prefix: string): void {
  const write = response.writeHead.bind(response)
  const confined = (status: number, reasonOrHeaders?: string | Headers, given?: Headers): ServerResponse => {
    const reason = typeof reasonOrHeaders === 'string' ? reasonOrHeaders : undefined
    const headers = typeof reasonOrHeaders === 'string' ? given : reasonOrHeaders
    const raw = [...takeSetHeaders(response), ...flatten(headers)]
    const all = confineHeaders(raw, prefix)
    return reason === undefined ? write(status, all) : write(status, reason, all)
  }
  response.writeHead = confined
}

function takeSetHeaders(response: ServerResponse): string[] {
  const raw = flatten(response.getHeaders())
  for (const name of response.getHeaderNames()) response.removeHeader(name)
  return raw
}

function flatten(headers: Headers | undefined): string[] {
  if (headers === undefined) return []
  if (Array.isArray(headers)) return headers.flat().map(String)
  return Object.entries(headers).flatMap(([name, value]) => {
    if (value === undefined) return []
    return Array.isArray(value) ? value.flatMap((one) => [name, one]) : [name, String(value)]
  })
}
