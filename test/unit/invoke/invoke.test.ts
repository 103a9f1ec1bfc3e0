import { describe, expect, it } from 'vitest'
import { AppError } from '../../../common/index.ts'
import { coresFor } from '../../../runtime-shim/instances/limits.ts'
import { failureResult, readAnswer } from '../../../runtime-shim/invoke/answer.ts'
import { forwardRequestHeaders, forwardResponseHeaders } from '../../../runtime-shim/invoke/headers.ts'
import { brokenConnection, startFailure, timeLimit } from '../../../runtime-shim/invoke/outcome.ts'

const answer = (status: number, body: string) => readAnswer({ status, body })

describe('the answer of an event function', () => {
  it.each([
    ['JSON stays JSON', 200, '{"a":1}', { ok: true, json: '{"a":1}' }],
    ['plain text becomes a JSON string', 200, 'hello', { ok: true, json: '"hello"' }],
    ['null is a result', 200, 'null', { ok: true, json: 'null' }],
    ['an empty body is an empty string', 200, '', { ok: true, json: '""' }],
    [
      'a status of 400 or more is 430 with the body as message',
      418,
      'teapot',
      { ok: false, failure: { number: 430, message: 'teapot' } },
    ],
    [
      "an adapter's exception keeps its stack",
      500,
      '{"errorMessage":"boom","stackTrace":"at x"}',
      { ok: false, failure: { number: 430, message: 'boom', stackTrace: 'at x' } },
    ],
    [
      'an adapter says that the code cannot be loaded',
      500,
      '{"errorMessage":"no such file","statusCode":443}',
      { ok: false, failure: { number: 443, message: 'no such file' } },
    ],
    [
      'a function cannot claim a number of the platform',
      500,
      '{"errorMessage":"x","statusCode":200}',
      { ok: false, failure: { number: 430, message: 'x' } },
    ],
  ])('%s', (_title, status, body, outcome) => {
    expect(answer(status, body)).toEqual(outcome)
  })

  it('is told as scf-contract 1.8 has it', () => {
    expect(failureResult(timeLimit(3), 'id')).toEqual({
      errorCode: -1,
      errorMessage: 'Invoking task timed out after 3 seconds',
      requestId: 'id',
      statusCode: 433,
    })
  })
})

describe('numbers of failed starts and calls', () => {
  it.each([
    ['port-binding-failed', 446],
    ['instance-exited', 405],
    ['instance-create-failed', 445],
    ['pull-failed', 444],
    ['pull-timeout', 447],
    ['init-timeout', 450],
    ['queue-full', 432],
    ['something-else', 500],
  ])('%s is %i', (code, number) => {
    expect(startFailure(new AppError('x', { code })).number).toBe(number)
  })

  it('has the exact sentence for a server that does not listen', () => {
    expect(startFailure(new AppError('x', { code: 'port-binding-failed' })).message).toBe(
      'The request timed out in 30000ms.Please confirm your http server have enabled listening on port 9000.',
    )
  })

  it.each([
    ['out of memory', { code: 137, signal: 'SIGKILL', oom: true }, 434],
    ['an exit', { code: 3, signal: null, oom: false }, 439],
    ['a connection closed by a process that lives', undefined, 430],
  ])('tells %s', (_title, exit, number) => {
    expect(brokenConnection(exit, new Error('other side closed')).number).toBe(number)
  })
})

describe('headers of web calls', () => {
  const context = {
    expect: false,
    secure: false,
    remoteAddress: '10.0.0.9',
    prefix: '/web/default/f',
    platform: { 'x-scf-request-id': 'id' },
  }

  it('drops hop-by-hop fields, those named by Connection, and names that are ours', () => {
    const raw = [
      'Host',
      'h',
      'Connection',
      'close, X-Mine',
      'X-Mine',
      '1',
      'TE',
      'gzip',
      'X-Scf-Name',
      'forged',
      'Accept',
      '*/*',
    ]
    const out = forwardRequestHeaders(raw, context)
    const names = out.filter((_value, index) => index % 2 === 0).map((name) => name.toLowerCase())
    expect(names).toEqual([
      'host',
      'accept',
      'x-forwarded-for',
      'x-forwarded-proto',
      'x-forwarded-host',
      'forwarded',
      'x-forwarded-prefix',
      'x-scf-request-id',
    ])
  })

  it('appends to X-Forwarded-For and keeps repeated fields in order', () => {
    const out = forwardRequestHeaders(
      ['Host', 'h', 'X-Forwarded-For', '1.2.3.4', 'Cookie', 'a=1', 'Cookie', 'b=2'],
      context,
    )
    expect(out.slice(2, 6)).toEqual(['Cookie', 'a=1', 'Cookie', 'b=2'])
    expect(out[out.indexOf('X-Forwarded-For') + 1]).toBe('1.2.3.4, 10.0.0.9')
  })

  it('appends to Forwarded, and says anew by which protocol and host we were called', () => {
    const forged = ['X-Forwarded-Proto', 'ftp', 'X-Forwarded-Host', 'other', 'X-Forwarded-Prefix', '/other']
    const out = forwardRequestHeaders(['Host', 'h:80', 'Forwarded', 'for=1.2.3.4', ...forged], {
      ...context,
      remoteAddress: '::1',
      secure: true,
    })
    expect(out.slice(2, 12)).toEqual([
      'X-Forwarded-For',
      '::1',
      'X-Forwarded-Proto',
      'https',
      'X-Forwarded-Host',
      'h:80',
      'Forwarded',
      'for=1.2.3.4, for="[::1]";host="h:80";proto=https',
      'X-Forwarded-Prefix',
      '/web/default/f',
    ])
  })

  it("keeps the function's repeated Set-Cookie and removes a forged X-Slipway-Status", () => {
    const out = forwardResponseHeaders(
      ['Set-Cookie', 'a', 'X-Slipway-Status', '500', 'Set-Cookie', 'b', 'Keep-Alive', 'timeout=5'],
      'id',
    )
    expect(out).toEqual(['Set-Cookie', 'a', 'Set-Cookie', 'b', 'X-Request-Id', 'id', 'X-Slipway-Status', '200'])
  })
})

describe('CPU by memory', () => {
  it.each([
    [128, 0.1],
    [640, 0.5],
    [1_280, 1],
    [3_072, 2],
    [6_144, 4],
    [122_880, 64],
  ])('%i MB gets %f cores', (memoryMb, cores) => {
    expect(coresFor(memoryMb)).toBeCloseTo(cores, 3)
  })
})
