/** What the function must have seen of one request. */
export interface Seen {
  method: string
  target: string
  body: string
  /** Fields that must be there, with exactly these values in this order. */
  fields?: Record<string, readonly string[]>
  /** Lower-case names that must not be there. */
  without?: readonly string[]
  trailers?: readonly (readonly [string, string])[]
}

/** `before` is what the function sees of the requests in front of the one that is refused. */
export type Expected =
  | { kind: 'served'; seen: readonly Seen[] }
  | { kind: 'refused'; status: readonly number[]; before: readonly Seen[] }

/**
 * One run of bytes on a connection of its own. In `bytes` (latin1) and in what is expected `{id}` stands for a name of this case alone,
 * `{host}` for the function's host. Behind every case the runner sends one more valid request, the sentinel: behind what is served it
 * must arrive as a request of its own, behind what is refused it must never arrive. So the function's view of where the requests end
 * is compared, and not only the status.
 */
export interface HttpCase {
  name: string
  /** The section that decides: `RFC 9112 6.3`. */
  rule: string
  bytes: string
  expected: Expected
  /** The connection ends behind it: the sentinel is not to be served. */
  last?: true
}

export const HOST = 'Host: {host}'

/** A head with its Host: request line and field lines, without what ends them. */
export function head(line: string, ...fields: string[]): string {
  return `${[line, HOST, ...fields].join('\r\n')}\r\n\r\n`
}

export const get = (...fields: string[]): string => head('GET /{id} HTTP/1.1', ...fields)
export const post = (fields: readonly string[], body = ''): string => head('POST /{id} HTTP/1.1', ...fields) + body
export const chunked = (body: string, ...fields: string[]): string =>
  post(['Transfer-Encoding: chunked', ...fields], body)

export const seen = (over: Partial<Seen> = {}): Seen => ({ method: 'GET', target: '/{id}', body: '', ...over })
export const seenPost = (body: string, over: Partial<Seen> = {}): Seen => seen({ method: 'POST', body, ...over })

export function served(rule: string, name: string, bytes: string, ...requests: Seen[]): HttpCase {
  return { name, rule, bytes, expected: { kind: 'served', seen: requests.length === 0 ? [seen()] : requests } }
}

export function refused(
  rule: string,
  name: string,
  bytes: string,
  status: number | readonly number[] = 400,
  before: readonly Seen[] = [],
): HttpCase {
  return { name, rule, bytes, expected: { kind: 'refused', status: [status].flat(), before } }
}

/** Control and other bytes as they are written in a title. */
export const visible = (text: string): string =>
  text.length > 60 ? `${visible(text.slice(0, 40))}… (${text.length} bytes)` : JSON.stringify(text).slice(1, -1)
