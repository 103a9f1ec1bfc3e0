import { describe, expect, test } from 'vitest'
import { type RequestHead, readStrictly } from '../../../../control-plane/gateway/strict.ts'

const head = (over: Partial<RequestHead> = {}): RequestHead => ({
  method: 'GET',
  target: '/',
  httpVersion: '1.1',
  rawHeaders: ['Host', 'localhost:8080'],
  ...over,
})
const withHeaders = (...rawHeaders: string[]) => head({ method: 'POST', rawHeaders: ['Host', 'a', ...rawHeaders] })

describe('a request head is accepted', () => {
  test.each([
    ['origin form', head({ target: '/a?b=c#'.slice(0, -1) }), '/a?b=c'],
    ['what browsers leave raw in a query', head({ target: '/a?x=[1]|{2}^`"<>\\%' }), '/a?x=[1]|{2}^`"<>\\%'],
    ['absolute form of the same host', head({ target: 'http://LOCALHOST:8080/x?y' }), '/x?y'],
    ['absolute form without a path', head({ target: 'http://localhost:8080' }), '/'],
    ['absolute form with only a query', head({ target: 'http://localhost:8080?x' }), '/?x'],
    [
      'absolute form without Host on HTTP/1.0',
      head({ httpVersion: '1.0', rawHeaders: [], target: 'http://a/x' }),
      '/x',
    ],
    ['https over TLS', head({ target: 'https://localhost:8080/x', secure: true }), '/x'],
    ['what belongs to the connection', withHeaders('Connection', 'close, X-Mine', 'Expect', '100-Continue'), '/'],
    ['asterisk form of OPTIONS', head({ method: 'OPTIONS', target: '*' }), '*'],
    ['no Host on HTTP/1.0', head({ httpVersion: '1.0', rawHeaders: [] }), '/'],
    ['one length', withHeaders('Content-Length', '12'), '/'],
    ['chunked', withHeaders('transfer-encoding', 'Chunked'), '/'],
  ])('%s', (_title, request, target) => {
    expect(readStrictly(request)).toMatchObject({ target })
  })

  test.each(['a', 'a.b', 'a.b.', 'a-b_c.d:1', '127.0.0.1', '[::1]', '[::1]:8080', 'a:'])('Host %s', (host) => {
    expect(readStrictly(head({ rawHeaders: ['host', host] }))).toMatchObject({ host })
  })
})

describe('a request head is refused', () => {
  test.each([
    ['another version', head({ httpVersion: '2.0' }), 505],
    ['TRACE', head({ method: 'TRACE' }), 405],
    ['https over plain TCP', head({ target: 'https://localhost:8080/x' }), 421],
    ['an expectation that is not known', withHeaders('Expect', 'tea'), 417],
    ['two expectations', withHeaders('Expect', '100-continue', 'Expect', '100-continue'), 417],
    ['a Connection that names Host', withHeaders('Connection', 'close, \tHOST '), 400],
    [
      'a second Connection that names the length',
      withHeaders('Connection', 'a', 'Connection', 'b,content-length'),
      400,
    ],
    ['two Hosts', head({ rawHeaders: ['Host', 'a', 'HOST', 'a'] }), 400],
    ['no Host', head({ rawHeaders: [] }), 400],
    ['a target without a slash', head({ target: 'healthz' }), 400],
    ['a target of another scheme', head({ target: 'ftp://localhost:8080/' }), 400],
    ['absolute form with a user', head({ target: 'http://a@localhost:8080/' }), 400],
    ['absolute form of another port', head({ target: 'http://localhost/' }), 400],
    ['a blank in the target', head({ target: '/a b' }), 400],
    ['a tab in the target', head({ target: '/a\tb' }), 400],
    ['a byte over 0x7e in the target', head({ target: '/ä' }), 400],
    ['a fragment', head({ target: '/#' }), 400],
    ['a backslash in the path', head({ target: '/a\\..\\b?c' }), 400],
    ['asterisk form of GET', head({ target: '*' }), 400],
    ['a length with a sign', withHeaders('Content-Length', '+1'), 400],
    ['a length in hex', withHeaders('Content-Length', '0x1'), 400],
    ['an empty length', withHeaders('Content-Length', ''), 400],
    ['an enormous length', withHeaders('Content-Length', '9'.repeat(16)), 400],
    ['two lengths', withHeaders('Content-Length', '1', 'content-length', '1'), 400],
    ['length and chunked', withHeaders('Content-Length', '1', 'Transfer-Encoding', 'chunked'), 400],
    ['gzip, chunked', withHeaders('Transfer-Encoding', 'gzip, chunked'), 501],
    ['gzip and chunked apart', withHeaders('Transfer-Encoding', 'gzip', 'Transfer-Encoding', 'chunked'), 501],
    ['chunked twice', withHeaders('Transfer-Encoding', 'chunked, chunked'), 400],
    ['chunked not last', withHeaders('Transfer-Encoding', 'chunked, gzip'), 400],
    ['chunked with a comma', withHeaders('Transfer-Encoding', 'chunked,'), 400],
    ['chunked with a parameter', withHeaders('Transfer-Encoding', 'chunked;q=1'), 400],
    ['chunked in quotes', withHeaders('Transfer-Encoding', '"chunked"'), 400],
    ['identity', withHeaders('Transfer-Encoding', 'identity'), 400],
    ['vertical tab before chunked', withHeaders('Transfer-Encoding', '\x0bchunked'), 400],
    ['a control character', withHeaders('X', 'a\x7fb'), 400],
    ['coding on HTTP/1.0', { ...withHeaders('Transfer-Encoding', 'chunked'), httpVersion: '1.0' }, 400],
  ])('%s', (_title, request, status) => {
    expect(readStrictly(request)).toMatchObject({ status })
  })

  test.each([
    '',
    ' ',
    'a b',
    'a,b',
    'a@b',
    'a/b',
    'a?b',
    'a#b',
    'a:b',
    'a:0',
    'a:123456',
    'a:65536',
    '[::1',
    '::1',
    '-a',
    'a\\b',
    '%41',
  ])('Host "%s"', (host) => {
    expect(readStrictly(head({ rawHeaders: ['Host', host] }))).toMatchObject({ status: 400 })
  })
})
