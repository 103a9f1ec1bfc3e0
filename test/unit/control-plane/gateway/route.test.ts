import { describe, expect, test } from 'vitest'
import { hostName, routeRequest } from '../../../../control-plane/gateway/route.ts'

const served = {
  api: new Set(['127.0.0.1', 'localhost', '[::1]', 'api.example']),
  webSuffixes: ['localhost', 'fn.example'],
}
const route = (method: string, host: string, target: string) => routeRequest(method, host, target, served)
const INVOKE = '/v1/namespaces/default/functions/hello/invocations'

describe('a request goes', () => {
  test.each([
    ['GET', 'localhost', '/v1/status'],
    ['GET', 'LOCALHOST.:8080', '/'],
    ['GET', '[::1]:8080', '/'],
    ['GET', 'api.example', '/console'],
    ['OPTIONS', 'localhost', '*'],
    ['GET', 'localhost', INVOKE],
    ['POST', 'localhost', `${INVOKE}/x`],
    ['POST', 'localhost', '/v1/namespaces/a%2Fb/functions/hello/invocations'],
    ['GET', 'localhost', '/registry/tokens'],
    ['GET', 'localhost', '/web/'],
    ['GET', 'localhost', '/web/default'],
    ['GET', 'localhost', '/web/default/he%6clo/'],
    ['GET', 'localhost', '//web/default/hello/'],
  ])('to the API: %s %s %s', (method, host, target) => {
    expect(route(method, host, target)).toEqual({ kind: 'api' })
  })

  test('to the token server of the registry', () => {
    expect(route('GET', 'localhost', '/registry/token?service=x')).toEqual({ kind: 'registry-token' })
    expect(route('POST', 'localhost', '/registry/token')).toEqual({ kind: 'registry-token' })
  })

  test.each([
    [INVOKE, ''],
    [`${INVOKE}?qualifier=$LATEST&tail=true`, 'qualifier=$LATEST&tail=true'],
  ])('to an event function: %s', (target, query) => {
    expect(route('POST', 'localhost', target)).toEqual({ kind: 'event', namespace: 'default', name: 'hello', query })
  })

  test.each([
    'hello.default.localhost',
    'HELLO.default.localhost:8080',
    'hello.default.localhost.',
    'hello.default.fn.example',
  ])('to a web function by its host %s, with the target untouched', (host) => {
    const target = '/../v1/status?x=%2F'
    expect(route('POST', host, target)).toEqual({
      kind: 'web',
      namespace: 'default',
      name: 'hello',
      path: target,
      prefix: null,
    })
  })

  test.each([
    ['GET', '/web/default/hello/', '/'],
    ['GET', '/web/default/hello/a/b?c=d', '/a/b?c=d'],
    ['GET', '/web/default/hello//a/../b', '//a/../b'],
    ['POST', '/web/default/hello', '/'],
    ['POST', '/web/default/hello?x', '/?x'],
  ])('to a web function below /web: %s %s', (method, target, path) => {
    const prefix = '/web/default/hello'
    expect(route(method, 'localhost', target)).toEqual({
      kind: 'web',
      namespace: 'default',
      name: 'hello',
      path,
      prefix,
    })
  })

  test('back to the same address with a slash, for links that are relative', () => {
    expect(route('GET', 'localhost', '/web/default/hello?x')).toEqual({
      kind: 'redirect',
      location: '/web/default/hello/?x',
    })
  })

  test.each([
    'evil.example',
    'default.localhost',
    'a.b.c.localhost',
    '.localhost',
    'hello..localhost',
    'localhost.evil.example',
    'hello.default.localhost.evil.example',
    '127.0.0.2',
    '',
  ])('nowhere for the host "%s"', (host) => {
    expect(route('GET', host, '/')).toEqual({ kind: 'not-served' })
  })
})

test.each([
  ['A.b:80', 'a.b'],
  ['[::1]:80', '[::1]'],
  ['[::1]', '[::1]'],
  ['a.', 'a'],
  ['a.:1', 'a'],
])('the name of host %s is %s', (host, name) => {
  expect(hostName(host)).toBe(name)
})
