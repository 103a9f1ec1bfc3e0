import { chunked, get, type HttpCase, head, post, refused, seen, seenPost, served } from './case.ts'

const RULE = 'RFC 9112 9.3.2'
const first = head('GET /{id}/first HTTP/1.1')
const seenFirst = seen({ target: '/{id}/first' })

const bad: [string, string][] = [
  ['no Host', 'GET /{id} HTTP/1.1\r\n\r\n'],
  ['two lengths', post(['Content-Length: 0', 'Content-Length: 5'], 'hello')],
  ['length and chunked', post(['Content-Length: 5', 'Transfer-Encoding: chunked'], '0\r\n\r\n')],
  ['a folded field', get('X: 1', ' 2')],
  ['garbage', '\x01\x02\x03\r\n\r\n'],
  ['a bare LF', 'GET /{id} HTTP/1.1\nHost: {host}\n\n'],
  ['TRACE', head('TRACE /{id} HTTP/1.1')],
  ['CONNECT', head('CONNECT {host}:80 HTTP/1.1')],
  ['a foreign version', head('GET /{id} HTTP/1.2')],
  ['a fragment', head('GET /{id}#a HTTP/1.1')],
  ['a head that is too large', get(`X: ${'a'.repeat(40_000)}`)],
]

export const pipelining: HttpCase[] = [
  ...bad.map(([name, bytes]) =>
    refused(RULE, `behind a good request: ${name}`, first + bytes, [400, 405, 431, 505], [seenFirst]),
  ),
  ...bad
    .slice(0, 6)
    .map(([name, bytes]) =>
      refused(
        RULE,
        `behind a good POST: ${name}`,
        head('POST /{id}/first HTTP/1.1', 'Content-Length: 5') + 'hello' + bytes,
        400,
        [seen({ method: 'POST', target: '/{id}/first', body: 'hello' })],
      ),
    ),
  refused(
    'RFC 9112 6.3',
    'more body than Content-Length says',
    post(['Content-Length: 5'], 'hello world\r\n\r\n'),
    400,
    [seenPost('hello')],
  ),
  refused(
    'RFC 9112 7.1',
    'a chunked body that goes on behind its end',
    chunked('5\r\nhello\r\n0\r\n\r\n5\r\nhello\r\n0\r\n\r\n'),
    400,
    [seenPost('hello')],
  ),
  refused('RFC 9112 6.3', 'a body where none was announced', `${get()}hello\r\n\r\n`, 400, [seen()]),
  refused(
    RULE,
    'behind a good request: a body that breaks its framing',
    `${first}${chunked('5\r\nhello\r\nno size\r\n')}`,
    400,
    [seenFirst],
  ),
  served(
    RULE,
    'three requests in one write',
    `${first}${get()}${head('GET /{id}/last HTTP/1.1')}`,
    seenFirst,
    seen(),
    seen({ target: '/{id}/last' }),
  ),
  served(
    RULE,
    'POST, GET, chunked POST',
    `${post(['Content-Length: 5'], 'hello')}${first}${chunked('5\r\nworld\r\n0\r\n\r\n')}`,
    seenPost('hello'),
    seenFirst,
    seenPost('world'),
  ),
  served(RULE, 'fifty requests in one write', first.repeat(50), ...Array.from({ length: 50 }, () => seenFirst)),
  served(
    'RFC 9112 2.2',
    'an empty line between two requests',
    `${post(['Content-Length: 5'], 'hello')}\r\n${first}`,
    seenPost('hello'),
    seenFirst,
  ),
  served(RULE, 'HEAD before GET', `${head('HEAD /{id} HTTP/1.1')}${first}`, seen({ method: 'HEAD' }), seenFirst),
]

/** Nothing is read behind a request after which the caller said that it ends. */
export const lastOnes: HttpCase[] = [
  { ...served('RFC 9112 9.6', 'Connection: close ends the connection', get('Connection: close')), last: true },
  {
    ...served('RFC 9112 9.6', 'Connection: Close in capitals, among others', get('Connection: X-A, CLOSE')),
    last: true,
  },
  { ...served('RFC 9112 9.3', 'HTTP/1.0 ends the connection', head('GET /{id} HTTP/1.0')), last: true },
  {
    ...served(
      'RFC 9112 9.3',
      'HTTP/1.0 with a length',
      `${head('POST /{id} HTTP/1.0', 'Content-Length: 5')}hello`,
      seenPost('hello'),
    ),
    last: true,
  },
]
