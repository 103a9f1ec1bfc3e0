/**
 * What two HTTP parsers in a row could read in two ways is refused here, after Node's own parser has refused what breaks the grammar
 * (RFC 9110, 9112): that is how requests are smuggled. Pure; the gateway answers and closes the connection.
 */
export interface RequestHead {
  method: string
  /** The request target as sent. */
  target: string
  /** `1.1` */
  httpVersion: string
  /** Names and values alternating, as sent. */
  rawHeaders: readonly string[]
  /** It came over TLS. Default false. */
  secure?: boolean
}

export interface Refusal {
  status: 400 | 405 | 417 | 421 | 501 | 505
  why: string
}

/** What a head means once it is accepted: one host, and a target in origin form (or `*`). */
export interface StrictHead {
  host: string
  target: string
}

const HOST =
  /^(?:[A-Za-z0-9_](?:[A-Za-z0-9_.-]{0,252}[A-Za-z0-9_])?\.?|\[[0-9A-Fa-f:.]{2,45}\])(?::([1-9][0-9]{0,4})?)?$/
const TARGET = /^[\x21\x22\x24-\x7e]+$/ // visible ASCII without the fragment's "#"
const ABSOLUTE = /^http(s?):\/\/([^/?]*)(.*)$/i
// HTAB and obs-text are allowed in field values (RFC 9110 5.5).
// oxlint-disable-next-line no-control-regex -- control characters are what it looks for
const CONTROL = /[\0-\x08\x0a-\x1f\x7f]/

export function readStrictly(head: RequestHead): StrictHead | Refusal {
  if (head.httpVersion !== '1.1' && head.httpVersion !== '1.0') {
    return { status: 505, why: `HTTP/${head.httpVersion} is not spoken here` }
  }
  if (head.method === 'TRACE' || head.method === 'CONNECT') {
    return { status: 405, why: `method ${head.method} is not served` }
  }
  const fields = collect(head.rawHeaders)
  if ('status' in fields) return fields
  return framing(head, fields) ?? hops(fields) ?? readTarget(head, fields)
}

interface Fields {
  host: string[]
  contentLength: string[]
  transferEncoding: string[]
  connection: string[]
  expect: string[]
}

/** Of the names below: every other name is passed over without being looked at, on every request. */
const DECIDING = ['host', 'content-length', 'transfer-encoding', 'connection', 'expect']
const DECIDING_LENGTHS = new Set(DECIDING.map(({ length }) => length))

/** The fields that decide where a request goes and where it ends. */
function collect(rawHeaders: readonly string[]): Fields | Refusal {
  const fields: Fields = { host: [], contentLength: [], transferEncoding: [], connection: [], expect: [] }
  for (let at = 0; at + 1 < rawHeaders.length; at += 2) {
    const value = rawHeaders[at + 1] ?? ''
    if (CONTROL.test(value)) return bad('a field value has control characters')
    const name = rawHeaders[at] ?? ''
    if (!DECIDING_LENGTHS.has(name.length)) continue
    switch (name.toLowerCase()) {
      case 'host':
        fields.host.push(value)
        break
      case 'content-length':
        fields.contentLength.push(value)
        break
      case 'transfer-encoding':
        fields.transferEncoding.push(value)
        break
      case 'connection':
        fields.connection.push(value)
        break
      case 'expect':
        fields.expect.push(value)
        break
    }
  }
  return fields
}

/** Where the body ends must be said once and in one way (RFC 9112 6.1, 6.3). */
function framing(head: RequestHead, { contentLength, transferEncoding }: Fields): Refusal | undefined {
  if (contentLength.length > 1) return bad('Content-Length is given more than once')
  if (contentLength[0] !== undefined && !/^[0-9]{1,15}$/.test(contentLength[0]))
    return bad('Content-Length is no number')
  if (transferEncoding.length === 0) return undefined
  if (head.httpVersion === '1.0') return bad('HTTP/1.0 has no Transfer-Encoding')
  if (contentLength.length > 0) return bad('both Content-Length and Transfer-Encoding are given')
  const codings = transferEncoding.join(',').toLowerCase()
  if (transferEncoding.length === 1 && codings === 'chunked') return undefined
  const list = codings.split(',').map((coding) => coding.trim())
  const understood = list.filter((coding) => coding === 'chunked').length === 1 && list.at(-1) === 'chunked'
  return understood && list.length > 1 && !list.includes('')
    ? { status: 501, why: `Transfer-Encoding ${codings.slice(0, 100)} is not understood; only chunked is` }
    : bad(`Transfer-Encoding must be chunked, not "${codings.slice(0, 100)}"`)
}

/**
 * What `Connection` names is removed by whoever forwards (RFC 9110 7.6.1): a Host or a length that is taken away on the way makes the next
 * reader see another request. 100 is the only expectation that there is (10.1.1).
 */
function hops({ connection, expect }: Fields): Refusal | undefined {
  if (expect.length > 1 || (expect[0] !== undefined && expect[0].toLowerCase() !== '100-continue'))
    return { status: 417, why: 'only 100-continue can be expected here' }
  if (connection.length === 0) return undefined
  const named = connection.join(',').toLowerCase().split(',')
  const kept = named.find((token) => /^[ \t]*(?:host|content-length)[ \t]*$/.test(token))
  return kept === undefined ? undefined : bad(`Connection names ${kept.trim()}, which is not the connection's`)
}

function readTarget(head: RequestHead, { host: hosts }: Fields): StrictHead | Refusal {
  if (hosts.length > 1) return bad('Host is given more than once')
  const host = hosts[0] ?? ''
  if (!(host === '' && head.httpVersion === '1.0') && !isHost(host)) return bad('Host is missing or malformed')
  const { target } = head
  if (target === '*') return head.method === 'OPTIONS' ? { host, target } : bad('the target * belongs to OPTIONS')
  if (target.includes('#')) return bad('the target has a fragment')
  if (!TARGET.test(target)) return bad('the target has blanks, control or non-ASCII characters')
  const path = target.split('?', 1)[0] ?? ''
  if (path.includes('\\')) return bad('the path has a backslash')
  if (target.startsWith('/')) return { host, target }
  const absolute = ABSOLUTE.exec(target)
  if (absolute === null) return bad('the target is neither a path nor a URL')
  const [, https, authority = '', rest = ''] = absolute
  // RFC 9112 3.2.2: Host must say the same; HTTP/1.0 may say it in the target alone.
  const same = authority.toLowerCase() === host.toLowerCase() || (host === '' && isHost(authority))
  if (!same) return bad('the target names another host than Host')
  // RFC 9110 7.4: the certificate is the proof that a name is served here.
  if (https !== '' && head.secure !== true) return { status: 421, why: 'https is not spoken on this connection' }
  return { host: authority, target: rest.startsWith('/') ? rest : `/${rest}` }
}

function isHost(text: string): boolean {
  const match = HOST.exec(text)
  return match !== null && Number(match[1] ?? 0) <= 65_535
}

function bad(why: string): Refusal {
  return { status: 400, why }
}
