import { chunked, get, type HttpCase, head, post, refused, seen, seenPost, served } from './case.ts'

const RULE = 'RFC 9110 7.6.1'
const KEY = 'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=='
const websocket = ['Connection: Upgrade', 'Upgrade: websocket', 'Sec-WebSocket-Version: 13', KEY]
const trusted = [
  'X-Scf-Request-Id',
  'x-scf-memory',
  'X-SCF-NAME',
  'X-Scf-Anything',
  'X-Slipway-Status',
  'x-slipway-token',
  'X-SLIPWAY-ANYTHING',
]
const ours = [
  'x-scf-request-id',
  'x-scf-memory',
  'x-scf-timeout',
  'x-scf-version',
  'x-scf-name',
  'x-scf-namespace',
  'x-scf-region',
  'x-scf-appid',
  'x-scf-uin',
]
const ofConnection = [
  'Keep-Alive: timeout=5',
  'Proxy-Connection: keep-alive',
  'TE: trailers',
  'Proxy-Authorization: Basic x',
  'Proxy-Authenticate: Basic',
  'Upgrade: h2c',
  'Upgrade: websocket',
]

export const connection: HttpCase[] = [
  ...trusted.map((name) =>
    served(
      'scf-contract 1.4',
      `${name} of a caller does not arrive`,
      get(`${name}: forged`),
      seen(ours.includes(name.toLowerCase()) ? {} : { without: [name.toLowerCase()] }),
    ),
  ),
  ...ours.map((name) =>
    served(
      'scf-contract 1.5',
      `${name} is there once, and ours`,
      get(`${name}: forged`, `${name.toUpperCase()}: forged`),
      seen({ fields: {} }),
    ),
  ),
  ...ofConnection.map((field) =>
    served(
      RULE,
      `${field} stays on its connection`,
      get(field),
      seen({ without: [(field.split(':')[0] ?? '').toLowerCase()] }),
    ),
  ),
  served(
    RULE,
    'what Connection names stays with it',
    get('Connection: X-Mine, X-Yours', 'X-Mine: 1', 'X-Yours: 2', 'X-Kept: 3'),
    seen({ without: ['x-mine', 'x-yours'], fields: { 'x-kept': ['3'] } }),
  ),
  served(
    RULE,
    'what several Connections name stays with them',
    get('Connection: X-Mine', 'connection: ,x-yours,', 'X-MINE: 1', 'X-Yours: 2'),
    seen({ without: ['x-mine', 'x-yours'] }),
  ),
  served(
    RULE,
    'Connection cannot take our fields away',
    get('Connection: X-Scf-Name, X-Forwarded-For, X-Request-Id'),
    seen({ fields: { 'x-scf-name': ['recorder'] } }),
  ),
  ...['Host', 'Content-Length', 'HOST', 'content-length'].map((name) =>
    refused(
      RULE,
      `Connection names ${name}`,
      `${head('POST /{id} HTTP/1.1', `Connection: ${name}`, 'Content-Length: 5')}hello`,
    ),
  ),
  refused(
    RULE,
    'Connection names the length of a GET that expects 100',
    `${get('Connection: Content-Length', 'Expect: 100-continue', 'Content-Length: 5')}hello`,
  ),
  served(
    RULE,
    'Connection names Transfer-Encoding, which is of the connection anyway',
    chunked('5\r\nhello\r\n0\r\n\r\n', 'Connection: Transfer-Encoding'),
    seenPost('hello'),
  ),
  served(RULE, 'Connection: keep-alive', get('Connection: keep-alive'), seen()),
  {
    ...served(
      'RFC 9110 7.8',
      'h2c is not spoken: the request is an ordinary one',
      get('Connection: Upgrade, HTTP2-Settings', 'Upgrade: h2c', 'HTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA'),
      seen({ without: ['upgrade', 'http2-settings'] }),
    ),
    last: true,
  },
  served(
    'RFC 9110 7.8',
    'an upgrade that Connection does not name',
    get('Upgrade: websocket', KEY),
    seen({ without: ['upgrade'] }),
  ),
  served('RFC 9110 7.8', 'Connection: Upgrade without an Upgrade', get('Connection: Upgrade'), seen()),
  {
    ...served(
      'RFC 9110 7.8',
      'an upgrade to something unknown',
      get('Connection: Upgrade', 'Upgrade: foo/2'),
      seen({ without: ['upgrade'] }),
    ),
    last: true,
  },
  {
    ...served(
      'RFC 9110 7.8',
      'POST with a body and an upgrade to something unknown',
      post(['Connection: Upgrade', 'Upgrade: foo', 'Content-Length: 5'], 'hello'),
      seenPost('hello', { without: ['upgrade'] }),
    ),
    last: true,
  },
  refused('RFC 9110 7.8', 'a WebSocket with a length', `${get(...websocket, 'Content-Length: 5')}hello`),
  refused(
    'RFC 9110 7.8',
    'a WebSocket with a chunked body',
    `${get(...websocket, 'Transfer-Encoding: chunked')}0\r\n\r\n`,
  ),
  refused('RFC 9110 7.8', 'a WebSocket by POST with a body', post([...websocket, 'Content-Length: 5'], 'hello')),
  refused('RFC 9112 3.2', 'a WebSocket with two Hosts', get(...websocket, 'Host: other.example')),
  {
    ...served(
      'RFC 9110 7.8',
      'a WebSocket over HTTP/1.0 is no upgrade',
      head('GET /{id} HTTP/1.0', ...websocket),
      seen({ without: ['upgrade'] }),
    ),
    last: true,
  },
  {
    ...served(
      'RFC 9110 7.8',
      'a WebSocket or h2c, as the server likes: neither',
      get(...websocket, 'Upgrade: h2c'),
      seen({ without: ['upgrade'] }),
    ),
    last: true,
  },
  refused(
    'RFC 9110 10.1.1',
    'an expectation that is not known',
    post(['Expect: tea', 'Content-Length: 5'], 'hello'),
    417,
  ),
  served(
    'RFC 9110 10.1.1',
    'Expect: 100-continue',
    post(['Expect: 100-continue', 'Content-Length: 5'], 'hello'),
    seenPost('hello'),
  ),
  served(
    'RFC 9110 10.1.1',
    'Expect: 100-CONTINUE, chunked',
    chunked('5\r\nhello\r\n0\r\n\r\n', 'Expect: 100-CONTINUE'),
    seenPost('hello'),
  ),
  served(
    'RFC 9110 10.1.1',
    'Expect: 100-continue of a GET with a body',
    `${get('Expect: 100-continue', 'Content-Length: 5')}hello`,
    seen({ body: 'hello' }),
  ),
  served(
    'RFC 9110 10.1.1',
    'Expect: 100-continue of a GET with a chunked body',
    `${get('Expect: 100-continue', 'Transfer-Encoding: chunked')}5\r\nhello\r\n0\r\n\r\n`,
    seen({ body: 'hello' }),
  ),
  served(
    'RFC 9110 7.6.2',
    'Max-Forwards is not for us to count',
    get('Max-Forwards: 0'),
    seen({ fields: { 'max-forwards': ['0'] } }),
  ),
  served(
    'RFC 7239 4',
    'X-Forwarded-For is appended to',
    get('X-Forwarded-For: 192.0.2.1'),
    seen({ fields: { 'x-forwarded-for': ['192.0.2.1, 127.0.0.1'] } }),
  ),
  served(
    'RFC 7239 4',
    'two X-Forwarded-For are both kept',
    get('X-Forwarded-For: 192.0.2.1', 'X-Forwarded-For: 192.0.2.2'),
    seen({ fields: { 'x-forwarded-for': ['192.0.2.1, 192.0.2.2, 127.0.0.1'] } }),
  ),
  served(
    'RFC 7239 4',
    'X-Forwarded-Proto, -Host and -Prefix are ours',
    get('X-Forwarded-Proto: https', 'X-Forwarded-Host: other.example', 'X-Forwarded-Prefix: /x'),
    seen({
      fields: { 'x-forwarded-proto': ['http'], 'x-forwarded-host': ['{host}'] },
      without: ['x-forwarded-prefix'],
    }),
  ),
]
