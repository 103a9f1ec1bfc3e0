import { chunked, type HttpCase, refused, seenPost, served, visible } from './case.ts'

const RULE = 'RFC 9112 7.1'
const END = '0\r\n\r\n'

const sizes = [
  '',
  'g',
  '0x5',
  '5h',
  '+5',
  '-5',
  '-1',
  ' 5',
  '\t5',
  '5 ',
  '5\t',
  '5 5',
  '5,',
  '5.0',
  '\x005',
  '5\x00',
  '٥',
  '\xef\xbb\xbf5',
  '"5"',
  '(5)',
  '5\x0b',
  '10000000000000005',
  'fffffffffffffffff',
  '00000000000000000000000000000000g',
  '5\r',
  '5\x7f',
  '#5',
  '5=a',
].map((size) => Buffer.from(size, size === '٥' ? 'utf8' : 'latin1').toString('latin1'))

const bodies: [string, string][] = [
  ['a chunk longer than its size', `5\r\nhello!\r\n${END}`],
  ['a chunk shorter than its size', `6\r\nhello\r\n${END}`],
  ['a chunk without its CRLF', `5\r\nhello${END}`],
  ['a chunk that ends in LF', `5\r\nhello\n${END}`],
  ['a chunk that ends in CR', `5\r\nhello\r${END}`],
  ['a chunk that ends in two bytes that are no CRLF', `5\r\nhelloXX${END}`],
  ['a chunk size that ends in LF', `5\nhello\r\n${END}`],
  ['a chunk size that ends in CR', `5\rhello\r\n${END}`],
  ['a last chunk that ends in LF', '5\r\nhello\r\n0\n\r\n'],
  ['a body that ends in LF', '5\r\nhello\r\n0\r\n\n'],
  ['a body that ends in LF LF', '5\r\nhello\r\n0\n\n'],
  ['a body that ends in CR CR', '5\r\nhello\r\n0\r\n\r\r'],
  ['an extension that ends in LF', `5;a\nhello\r\n${END}`],
  ['an extension with a CR', `5;a\rb\r\nhello\r\n${END}`],
  ['an extension with a NUL', `5;a=\x00\r\nhello\r\n${END}`],
  ['an extension with DEL', `5;a=\x7f\r\nhello\r\n${END}`],
  ['a quoted extension that holds a line end', `5;a="\r\nhello\r\n${END}`],
  ['a quoted extension that holds an LF', `5;a="\n"\r\nhello\r\n${END}`],
  ['an extension of 40,000 bytes', `5;a=${'b'.repeat(40_000)}\r\nhello\r\n${END}`],
]

const trailers: [string, string][] = [
  ['without a colon', 'X\r\n'],
  ['folded', 'X: 1\r\n 2\r\n'],
  ['with a blank before the colon', 'X : 1\r\n'],
  ['with a NUL', 'X: \x00\r\n'],
  ['with a control character', 'X: \x7f\r\n'],
  ['that ends in LF', 'X: 1\n'],
  ['that ends in CR', 'X: 1\rY: 2\r\n'],
  ['with a name that is none', 'X(: 1\r\n'],
  ['that frames by length', 'Content-Length: 9\r\n'],
  ['that frames by chunks', 'Transfer-Encoding: chunked\r\n'],
  ['of 40,000 bytes', `X: ${'a'.repeat(40_000)}\r\n`],
]

export const chunks: HttpCase[] = [
  ...sizes.map((size) =>
    refused(RULE, `chunk size ${visible(size)}`, chunked(`${size}\r\nhello\r\n${END}`), [400, 413]),
  ),
  ...bodies.map(([name, body]) => refused(RULE, name, chunked(body), [400, 413, 431])),
  ...trailers.map(([name, fields]) =>
    refused('RFC 9112 7.1.2', `a trailer ${name}`, chunked(`5\r\nhello\r\n0\r\n${fields}\r\n`), [400, 431]),
  ),
  served(
    RULE,
    'a size in capitals and small letters',
    chunked(`A\r\n0123456789\r\na\r\n0123456789\r\n${END}`),
    seenPost('01234567890123456789'),
  ),
  served(RULE, 'a size with leading zeros', chunked(`0000005\r\nhello\r\n0000\r\n\r\n`), seenPost('hello')),
  served(
    RULE,
    'a size of 40,000 zeros before a digit',
    chunked(`${'0'.repeat(40_000)}5\r\nhello\r\n${END}`),
    seenPost('hello'),
  ),
  served(
    'RFC 9112 7.1.1',
    'an extension of each of 2,000 chunks',
    chunked(`${'1;a=bbbbbbbbbbbbbbbbbbbb\r\nx\r\n'.repeat(2_000)}${END}`),
    seenPost('x'.repeat(2_000)),
  ),
  served(RULE, 'one byte a chunk', chunked(`${'1\r\nx\r\n'.repeat(500)}${END}`), seenPost('x'.repeat(500))),
  served(RULE, 'a chunk that looks like the end', chunked(`5\r\n0\r\n\r\n\r\n${END}`), seenPost('0\r\n\r\n')),
  served(
    RULE,
    'a chunk that looks like a request',
    chunked(`1c\r\nGET /smuggled HTTP/1.1\r\nX: 1\r\n${END}`),
    seenPost('GET /smuggled HTTP/1.1\r\nX: 1'),
  ),
  served('RFC 9112 7.1.1', 'an extension', chunked(`5;a\r\nhello\r\n0;b=c\r\n\r\n`), seenPost('hello')),
  served(
    'RFC 9112 7.1.1',
    'an extension with a quoted value',
    chunked(`5;a="b c;d"\r\nhello\r\n${END}`),
    seenPost('hello'),
  ),
  served('RFC 9112 7.1.1', 'several extensions', chunked(`5;a=1;b="2";c\r\nhello\r\n${END}`), seenPost('hello')),
  served(
    'RFC 9112 7.1.2',
    'trailers that were not announced are dropped',
    chunked('5\r\nhello\r\n0\r\nX-Sum: 1\r\n\r\n'),
    seenPost('hello', { trailers: [] }),
  ),
  served(
    'RFC 9110 6.5',
    'announced trailers pass',
    chunked('5\r\nhello\r\n0\r\nX-Sum: 1\r\n\r\n', 'Trailer: X-Sum'),
    seenPost('hello', { trailers: [['X-Sum', '1']] }),
  ),
  served(
    'RFC 9110 6.5.1',
    'trailers that route or authorise do not',
    chunked(
      '5\r\nhello\r\n0\r\nHost: a\r\nAuthorization: b\r\nX-Scf-Name: forged\r\nX-Slipway-A: 1\r\nX-Forwarded-For: 1.2.3.4\r\nCookie: a=1\r\nX-Request-Id: 1\r\nX-Sum: 1\r\n\r\n',
      'Trailer: X-Sum, Content-Length',
    ),
    seenPost('hello', { trailers: [['X-Sum', '1']] }),
  ),
  served(
    'RFC 9110 6.5',
    'announced and none sent',
    chunked(`5\r\nhello\r\n${END}`, 'Trailer: X-Sum'),
    seenPost('hello', { trailers: [] }),
  ),
]
