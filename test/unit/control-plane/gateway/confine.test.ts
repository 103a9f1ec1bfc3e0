import { IncomingMessage, ServerResponse } from 'node:http'
import { Socket } from 'node:net'
import { describe, expect, test } from 'vitest'
import { confineAnswer, confineHeaders } from '../../../../control-plane/gateway/confine.ts'

const PREFIX = '/web/default/hello'
const SANDBOX = ['Content-Security-Policy', 'sandbox allow-scripts allow-forms']
const cookie = (value: string): string | undefined => confineHeaders(['Set-Cookie', value], PREFIX).slice(0, -2)[1]

describe('the answer of a function below a path', () => {
  test.each([
    ['a=1', 'a=1; Path=/web/default/hello/'],
    ['a=1; Path=/', 'a=1; Path=/web/default/hello/'],
    [
      'a=1; path=/x; HttpOnly; Domain=localhost; SameSite=Lax',
      'a=1; HttpOnly; SameSite=Lax; Path=/web/default/hello/x',
    ],
    ['a=1; Path=/web/default/hello/x', 'a=1; Path=/web/default/hello/x'],
    ['a=1; Path=/web/default/hello', 'a=1; Path=/web/default/hello'],
    ['a=1; Path=/web/default/hello2', 'a=1; Path=/web/default/hello/web/default/hello2'],
    ['a=1; Path=/web/default/hello/; Path=/', 'a=1; Path=/web/default/hello/'],
    ['a=1; Path=relative', 'a=1; Path=/web/default/hello/'],
    ['a="x;y"; Path = /z ', 'a="x; y"; Path=/web/default/hello/z'],
    ['__Secure-a=1', '__Secure-a=1; Path=/web/default/hello/'],
  ])('has the cookie %s as %s', (given, confined) => {
    expect(cookie(given)).toBe(confined)
  })

  test('loses cookies and fields that speak for the whole host', () => {
    const raw = ['Set-Cookie', '__Host-a=1; Path=/', 'clear-site-data', '"*"', 'Strict-Transport-Security', 'max-age=1']
    expect(confineHeaders([...raw, 'X', 'y'], PREFIX)).toEqual(['X', 'y', ...SANDBOX])
  })

  test('keeps its own policy beside ours, and repeated fields', () => {
    const raw = ['Content-Security-Policy', "default-src 'self'", 'Link', 'a', 'Link', 'b']
    expect(confineHeaders(raw, PREFIX)).toEqual([...raw, ...SANDBOX])
  })

  test.each([
    ['a list', (response: ServerResponse) => response.writeHead(201, ['Set-Cookie', 'a=1', 'X', 'y'])],
    [
      'a reason and an object',
      (response: ServerResponse) => response.writeHead(201, 'Made', { 'Set-Cookie': ['a=1'], X: 'y' }),
    ],
    [
      'fields set before',
      (response: ServerResponse) => response.setHeader('Set-Cookie', 'a=1').setHeader('X', 'y').writeHead(201),
    ],
    [
      'no head at all',
      (response: ServerResponse) => {
        response.statusCode = 201
        response.setHeader('Set-Cookie', 'a=1').setHeader('X', 'y').end()
      },
    ],
  ])('is confined however its head is written: by %s', (_title, write) => {
    const response = new ServerResponse(new IncomingMessage(new Socket()))
    confineAnswer(response, PREFIX)
    write(response)
    response.flushHeaders()
    const { _header: head } = response as unknown as { _header: string }
    expect(head).toMatch(/^HTTP\/1\.1 201 /)
    expect(head).toMatch(/set-cookie: a=1; Path=\/web\/default\/hello\/\r\n/i)
    expect(head).toMatch(/x: y\r\n/i)
    expect(head.match(/content-security-policy: sandbox/gi)).toHaveLength(1)
  })
})
