import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import * as fc from 'fast-check'
import { decodeJwt } from 'jose'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import {
  type Access,
  parseGrant,
  parseScopes,
  SigningKeys,
  TokenServer,
  tokenHandler,
} from '../../../registry-auth/index.ts'
import { formatScope } from '../../../registry-auth/scope.ts'
import { FUZZ_TIMEOUT_MS, fuzz } from '../../helpers/fuzz.ts'
import { sendRaw } from '../../helpers/raw-http.ts'

vi.setConfig({ testTimeout: FUZZ_TIMEOUT_MS })

const STATUSES = [200, 400, 401, 405, 413, 415, 429, 503]
const principal = { subject: 'ci', grants: [parseGrant('pull,push:default/*'), parseGrant('pull:shared/base')] }

let home: string
let tokens: TokenServer
let server: Server
const failures: unknown[] = []
beforeAll(async () => {
  home = mkdtempSync(join(tmpdir(), 'slipway-fuzz-'))
  const keys = SigningKeys.open(join(home, 'keys'))
  const authenticator = {
    check: (user: string, password: string) => (user === 'ci' && password === 'p' ? principal : undefined),
  }
  const refreshTokens = {
    issueRefresh: async () => 'fresh',
    checkRefresh: (token: string) => (token === 'fresh' ? principal : undefined),
  }
  tokens = new TokenServer({ service: 'registry', issuer: 'slipway', keys, authenticator, refreshTokens })
  const handle = tokenHandler(tokens)
  server = createServer((request, response) => {
    handle(request, response).catch((thrown: unknown) => failures.push(thrown))
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
})
afterAll(() => {
  server?.close().closeAllConnections()
  rmSync(home, { recursive: true, force: true })
})

const name = fc.constantFrom(
  'default/a',
  'default/a/b',
  'shared/base',
  'other/a',
  '*',
  'default/*',
  'default',
  'default/../other/a',
  '/default/a',
  'default//a',
  'a:5000/b',
  '',
  'DEFAULT/a',
  'default/a\0',
)
const action = fc.constantFrom('pull', 'push', 'delete', '*', 'PULL', '', 'pull push', 'write')
const wellFormed = fc
  .tuple(
    fc.constantFrom('repository', 'repository(plugin)', 'registry', 'Repository', ''),
    name,
    fc.array(action, { maxLength: 4 }),
  )
  .map(([type, repository, actions]) => `${type}:${repository}:${actions.join(',')}`)
const scope = fc.oneof(
  wellFormed,
  fc.string({ maxLength: 80 }),
  fc.array(fc.constantFrom(':', ',', ' ', '(', ')', '*', 'a', 'pull'), { maxLength: 20 }).map((all) => all.join('')),
)

/** What the principal may do, in the plainest words: the server's own code is not asked. */
function isWithinRights({ type, name: repository, actions }: Access): boolean {
  const below = /^default\/[a-z0-9][a-z0-9._/-]*$/.test(repository)
  const may = below ? ['pull', 'push'] : repository === 'shared/base' ? ['pull'] : []
  return type === 'repository' && actions.every((each) => may.includes(each))
}

describe('a token asked for by a fuzzer', () => {
  it('holds no right that its user lacks or did not ask for, whatever the scopes', async () => {
    const property = fc.asyncProperty(fc.array(scope, { maxLength: 6 }), fc.boolean(), async (scopes, known) => {
      const query = new URLSearchParams([['service', 'registry'], ...scopes.map((each) => ['scope', each])])
      const authorization = `Basic ${Buffer.from(known ? 'ci:p' : 'ci:wrong').toString('base64')}`
      const request = {
        method: 'GET' as const,
        query,
        authorization,
        form: new URLSearchParams(),
        address: '127.0.0.1',
      }
      const { status, body } = await tokens.answer(request)
      expect(known ? [200, 400] : [401, 400, 429]).toContain(status)
      if (status !== 200) return
      const { access } = decodeJwt<{ access: Access[] }>((JSON.parse(body) as { token: string }).token)
      const asked = scopes.join(' ')
      for (const each of access) {
        expect([each, isWithinRights(each)]).toEqual([each, true])
        expect(asked).toContain(`:${each.name}:`)
      }
    })
    await fc.assert(property, fuzz(300))
  })

  it('is answered with one of the documented statuses, whatever the form, the fields and the user are', async () => {
    const text = fc.oneof(
      fc.string({ maxLength: 20, unit: 'binary' }),
      fc.constantFrom('ci', 'p', 'fresh', 'password', 'refresh_token', 'registry', 'true', 'offline'),
    )
    const key = fc.oneof(
      fc.constantFrom(
        'grant_type',
        'username',
        'password',
        'refresh_token',
        'service',
        'scope',
        'offline_token',
        'access_type',
        'client_id',
      ),
      fc.string({ maxLength: 12 }),
    )
    const pairs = fc.array(fc.tuple(key, text), { maxLength: 10 })
    const authorization = fc.oneof(
      fc.constant(undefined),
      fc.string({ maxLength: 60 }),
      fc.base64String({ maxLength: 60 }).map((each) => `Basic ${each}`),
    )
    const property = fc.asyncProperty(
      fc.constantFrom('GET' as const, 'POST' as const),
      pairs,
      pairs,
      authorization,
      async (method, query, form, header) => {
        const request = {
          method,
          query: new URLSearchParams(query),
          form: new URLSearchParams(form),
          authorization: header,
          address: '::1',
        }
        expect(STATUSES).toContain((await tokens.answer(request)).status)
      },
    )
    await fc.assert(property, fuzz(200))
  })

  it('comes over HTTP in any bytes: each request is answered or its connection closed, and nothing fails', async () => {
    const piece = fc.constantFrom(
      'grant_type=password',
      '&',
      '=',
      '%',
      '%zz',
      '%00',
      '+',
      'scope=a:b:c',
      'ä',
      '\0',
      '\r\n',
      'username=ci',
      'password=p',
      'service=registry',
      '?',
      '#',
      '[]',
      'a'.repeat(3_000),
    )
    const bodies = fc.array(piece, { maxLength: 40 }).map((pieces) => pieces.join(''))
    const types = fc.constantFrom(
      'application/x-www-form-urlencoded',
      'application/x-www-form-urlencoded; charset=utf-16',
      'APPLICATION/X-WWW-FORM-URLENCODED',
      'multipart/form-data',
      'application/json',
      '',
    )
    const methods = fc.constantFrom('GET', 'POST', 'PUT', 'HEAD', 'OPTIONS')
    const { port } = server.address() as AddressInfo
    const property = fc.asyncProperty(methods, bodies, types, async (method, body, type) => {
      const target = `/token?${encodeURI(body.slice(0, 400)).replaceAll('#', '')}`
      const bytes = Buffer.from(body)
      const head = `${method} ${target} HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Type: ${type}\r\nContent-Length: ${bytes.length}\r\n\r\n`
      const answer = await sendRaw(port, Buffer.concat([Buffer.from(head, 'latin1'), bytes]))
      expect(STATUSES).toContain(Number(answer.slice(9, 12)))
    })
    await fc.assert(property, fuzz(150))
    expect(failures).toEqual([])
  })
})

describe('scopes made by a fuzzer', () => {
  it('are left out, or mean the same when they are printed and read again', () => {
    const property = fc.property(fc.array(scope, { maxLength: 70 }), (texts) => {
      const read = parseScopes(texts)
      if (read === undefined) return
      expect(parseScopes(read.map(formatScope))).toEqual(read)
      expect(read.length).toBeLessThanOrEqual(64)
    })
    fc.assert(property, fuzz(1_500))
  })
})
