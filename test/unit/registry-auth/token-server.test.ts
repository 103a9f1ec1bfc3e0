import { X509Certificate } from 'node:crypto'
import { mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { decodeProtectedHeader, jwtVerify } from 'jose'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import {
  type Grant,
  type Principal,
  parseGrant,
  SigningKeys,
  type TokenAudit,
  TokenServer,
  type TokenServerOptions,
  WriteGate,
  WrongPasswords,
} from '../../../registry-auth/index.ts'

let home: string
let keys: SigningKeys
beforeAll(() => {
  home = mkdtempSync(join(tmpdir(), 'slipway-tokens-'))
  keys = SigningKeys.open(join(home, 'keys'))
})
afterAll(() => rmSync(home, { recursive: true, force: true }))

const grants: Grant[] = [parseGrant('pull,push:default/*')]
const principal: Principal = { subject: 'ci', grants }
const refreshTokens = {
  issueRefresh: async (subject: string) => `refresh of ${subject}`,
  checkRefresh: (token: string) => (token === 'refresh of ci' ? principal : undefined),
}
const NOW_MS = Date.UTC(2030, 0, 1)

function serve(options: Partial<TokenServerOptions> = {}) {
  const authenticator = {
    check: (username: string, password: string) => (username === 'ci' && password === 'p:w' ? principal : undefined),
  }
  return new TokenServer({ service: 'registry', issuer: 'slipway', keys, authenticator, now: () => NOW_MS, ...options })
}
const basic = (text: string): string => `Basic ${Buffer.from(text).toString('base64')}`

async function get(query: string, authorization?: string, options?: Partial<TokenServerOptions>) {
  const request = {
    method: 'GET' as const,
    query: new URLSearchParams(query),
    authorization,
    form: new URLSearchParams(),
    address: '127.0.0.1',
  }
  const { status, headers, body } = await serve(options).answer(request)
  return { status, headers, body: JSON.parse(body) as Record<string, string> }
}
async function post(form: string, options?: Partial<TokenServerOptions>) {
  const request = {
    method: 'POST' as const,
    query: new URLSearchParams(),
    authorization: undefined,
    form: new URLSearchParams(form),
    address: '127.0.0.1',
  }
  const { status, body } = await serve(options).answer(request)
  return { status, body: JSON.parse(body) as Record<string, string> }
}

function leafOf(token: string): X509Certificate {
  const [der = ''] = decodeProtectedHeader(token).x5c ?? []
  return new X509Certificate(Buffer.from(der, 'base64'))
}
async function claimsOf(token = '') {
  const { payload } = await jwtVerify(token, leafOf(token).publicKey, { currentDate: new Date(NOW_MS) })
  return payload
}

describe('the token server', () => {
  it('answers a right name and password with a token for what was asked for and is allowed', async () => {
    const query = 'service=registry&scope=repository:default/a:pull,push,delete&scope=repository:other/b:pull'
    const { status, headers, body } = await get(query, basic('ci:p:w'))
    expect(status).toBe(200)
    expect(headers).toEqual({ 'content-type': 'application/json', 'cache-control': 'no-store' })
    expect(body).toMatchObject({
      token: body['access_token'],
      expires_in: 60,
      issued_at: '2030-01-01T00:00:00.000Z',
      scope: 'repository:default/a:pull,push',
    })
    expect(body).not.toHaveProperty('refresh_token')
    expect(await claimsOf(body['token'])).toEqual({
      iss: 'slipway',
      sub: 'ci',
      aud: 'registry',
      iat: NOW_MS / 1000,
      nbf: NOW_MS / 1000,
      exp: NOW_MS / 1000 + 1,
      jti: expect.stringMatching(/^[0-9a-f-]{36}$/),
      access: [{ type: 'repository', name: 'default/a', actions: ['pull', 'push'] }],
    })
  })

  it('answers a missing right with a token that lacks it', async () => {
    const { status, body } = await get('service=registry&scope=repository:other/b:pull', basic('ci:p:w'))
    expect(status).toBe(200)
    expect((await claimsOf(body['token']))['access']).toEqual([])
  })

  it.each([
    basic('ci:wrong'),
    basic('other:p:w'),
    basic(':p:w'),
    basic('ci'),
    'Basic !',
    'Bearer x',
    `Basic ${'A'.repeat(20_000)}`,
  ])('refuses %.30s with 401', async (authorization) => {
    const { status, headers, body } = await get('service=registry', authorization)
    expect(status).toBe(401)
    expect(headers['www-authenticate']).toBe('Basic realm="slipway registry"')
    expect(body['errors']).toEqual([
      { code: 'UNAUTHORIZED', message: 'wrong user name or password, or a credential that has ended', detail: null },
    ])
  })

  it('gives who has no credential what everybody may do', async () => {
    const query = 'service=registry&scope=repository:public/a:pull,push'
    expect((await claimsOf((await get(query)).body['token']))['access']).toEqual([])
    const anonymous = () => [parseGrant('pull:public/*')]
    const { body } = await get(query, undefined, { anonymous })
    expect(await claimsOf(body['token'])).toMatchObject({
      sub: '',
      access: [{ type: 'repository', name: 'public/a', actions: ['pull'] }],
    })
  })

  it('refuses another service, and too many scopes', async () => {
    expect((await get('service=other', basic('ci:p:w'))).status).toBe(400)
    const scope = Array.from({ length: 100 }, (_, number) => `repository:a${number}:pull`).join(' ')
    expect((await get(`service=registry&scope=${scope}`, basic('ci:p:w'))).body).toMatchObject({
      error: 'invalid_scope',
    })
  })

  it('takes a name and password as a form too', async () => {
    const form =
      'grant_type=password&username=ci&password=p:w&service=registry&client_id=x&scope=repository:default/a:pull repository:default/b:push'
    const { status, body } = await post(form)
    expect(status).toBe(200)
    expect(body['scope']).toBe('repository:default/a:pull repository:default/b:push')
    expect((await post(form.replace('p:w', 'wrong'))).status).toBe(401)
  })

  it('gives a refresh token when asked to, and takes it', async () => {
    const { body } = await get('service=registry&offline_token=true&client_id=docker', basic('ci:p:w'), {
      refreshTokens,
    })
    expect(body['refresh_token']).toBe('refresh of ci')
    const form =
      'grant_type=refresh_token&service=registry&client_id=docker&scope=repository:default/a:pull&refresh_token='
    expect((await post(`${form}refresh of ci`, { refreshTokens })).body['scope']).toBe('repository:default/a:pull')
    expect((await post(`${form}refresh of ci&access_type=offline`, { refreshTokens })).body).not.toHaveProperty(
      'refresh_token',
    )
    expect((await post(`${form}other`, { refreshTokens })).status).toBe(401)
    expect((await post(`${form}refresh of ci`)).status).toBe(401)
  })

  it('answers 503 with the time to wait while no bearer that writes is issued, and goes on with pulls', async () => {
    const gate = new WriteGate({ now: () => NOW_MS })
    gate.close('collector', NOW_MS + 40_000)
    const query = 'service=registry&scope=repository:default/a:pull,push'
    const { status, headers, body } = await get(query, basic('ci:p:w'), { gate })
    expect([status, headers['retry-after']]).toEqual([503, '40'])
    expect(body['errors']).toEqual([
      {
        code: 'UNAVAILABLE',
        message: 'the registry is being collected and takes no pushes; push again in 40 s',
        detail: null,
      },
    ])
    expect((await get(query.replace(',push', ''), basic('ci:p:w'), { gate })).status).toBe(200)
    expect((await get(query.replace('default', 'other'), basic('ci:p:w'), { gate })).status).toBe(200)
  })

  it('answers 429 to who sends too many wrong passwords, and still takes the right one', async () => {
    const options = { wrongPasswords: new WrongPasswords({ now: () => NOW_MS, burst: 2, refillMs: 3_000 }) }
    const tries = ['ci:a', 'nobody:b', 'ci:c'].map((text) => get('service=registry', basic(text), options))
    expect((await Promise.all(tries)).map(({ status }) => status)).toEqual([401, 401, 429])
    const form = 'grant_type=refresh_token&refresh_token=wrong'
    expect((await post(form, options)).body['error_description']).toBe(
      'too many wrong passwords from this address; try again in 3 s',
    )
    expect((await get('service=registry', basic('ci:p:w'), options)).status).toBe(200)
  })

  it('tells each request, without a secret and without names that are nobody’s', async () => {
    const audits: TokenAudit[] = []
    const audit = (line: TokenAudit) => void audits.push(line)
    const scope = 'scope=repository:default/a:pull,delete'
    await get(`service=registry&${scope}`, basic('ci:p:w'), { audit })
    await get('service=registry', basic('p:w:ci'), { audit })
    await get(`service=registry&${scope}`, undefined, { audit })
    const common = { address: '127.0.0.1', asked: 'repository:default/a:pull,delete' }
    expect(audits).toEqual([
      { ...common, outcome: 'issued', subject: 'ci', login: 'basic', allowed: 'repository:default/a:pull' },
      { ...common, outcome: 'refused', subject: '', login: 'basic', asked: '', allowed: '' },
      { ...common, outcome: 'issued', subject: '', login: 'anonymous', allowed: '' },
    ])
    expect(JSON.stringify(audits)).not.toContain('p:w')
  })

  it('refuses other kinds of grants', async () => {
    expect(await post('grant_type=authorization_code')).toMatchObject({
      status: 400,
      body: { error: 'unsupported_grant_type' },
    })
    expect((await post('')).status).toBe(400)
  })
})

describe('the signing keys', () => {
  it('are a CA on disk that only its owner reads, and leaves in memory that it signs', () => {
    const directory = join(home, 'fresh')
    const made = SigningKeys.open(directory)
    expect(readdirSync(directory)).toEqual(['registry-ca.pem'])
    expect((statSync(join(directory, 'registry-ca.pem')).mode & 0o777).toString(8)).toBe('600')
    const ca = new X509Certificate(made.caCertificatePem)
    expect(made.caCertificatePem).not.toContain('PRIVATE')
    expect(ca.ca && ca.checkIssued(ca) && ca.verify(ca.publicKey)).toBe(true)
    const leaf = new X509Certificate(Buffer.from(made.current(Date.now()).x5c[0] ?? '', 'base64'))
    expect(leaf.checkIssued(ca) && leaf.verify(ca.publicKey)).toBe(true)
    expect(leaf.ca).toBe(false)
    expect(leaf.validFromDate.getTime()).toBeLessThan(Date.now())
  })

  it('are the same CA after a restart, with another leaf', () => {
    const again = SigningKeys.open(join(home, 'keys'))
    expect(again.caCertificatePem).toBe(keys.caCertificatePem)
    expect(again.current(NOW_MS).x5c).not.toEqual(keys.current(NOW_MS).x5c)
  })

  it('change their leaf after 24 hours, when asked to, and when the clock goes back', () => {
    const made = SigningKeys.open(join(home, 'rotating'))
    const first = made.current(NOW_MS)
    const hourMs = 3_600_000
    expect(made.current(NOW_MS + 24 * hourMs - 1)).toBe(first)
    const second = made.current(NOW_MS + 24 * hourMs)
    expect(second).not.toBe(first)
    expect(made.current(NOW_MS)).not.toBe(second)
    expect(made.rotate(NOW_MS)).not.toBe(second)
    expect(first.notAfterMs).toBe(NOW_MS + 48 * hourMs)
  })

  it.each(['', 'garbage', '-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n'])(
    'that are damaged (%.10s) are refused with what to do',
    (text) => {
      const directory = mkdtempSync(join(home, 'damaged-'))
      writeFileSync(join(directory, 'registry-ca.pem'), text)
      expect(() => SigningKeys.open(directory)).toThrow(
        expect.objectContaining({ code: 'signing-keys-unusable', hint: expect.stringContaining('move the file away') }),
      )
    },
  )

  it('have certificates right on both sides of the year 2050, where the form of times changes', () => {
    const made = SigningKeys.open(join(home, 'far'))
    for (const year of [2049, 2050, 2060]) {
      const nowMs = Date.UTC(year, 11, 31, 23, 59, 59)
      const leaf = new X509Certificate(Buffer.from(made.rotate(nowMs).x5c[0] ?? '', 'base64'))
      expect(leaf.validToDate.getTime()).toBe(nowMs + 48 * 3_600_000)
    }
  })
})
