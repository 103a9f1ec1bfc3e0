import { once } from 'node:events'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest'
import { EcrTokens } from '../../registry-auth/sources/index.ts'
import { type Aws, requireMoto, startAws } from '../helpers/moto.ts'

const REGISTRY = '123456789012.dkr.ecr.eu-central-1.amazonaws.com'
const KEYS = { accessKeyId: 'AKIAOFATESTXXXXX', secretAccessKey: 'canary-secret-access-key' }
const ROLE = 'arn:aws:iam::123456789012:role/puller'
const HOUR = 3_600_000
const settings = { kind: 'ecr', region: 'eu-central-1', account: '123456789012', keys: KEYS } as const

describe.skipIf(!(await requireMoto()))('Amazon ECR', () => {
  let aws: Aws
  let tokens: EcrTokens
  beforeAll(async () => {
    aws = await startAws()
    vi.stubEnv('AWS_ENDPOINT_URL', aws.url)
    vi.stubEnv('AWS_CONFIG_FILE', '/nonexistent')
    vi.stubEnv('AWS_SHARED_CREDENTIALS_FILE', '/nonexistent')
    vi.stubEnv('AWS_EC2_METADATA_DISABLED', 'true')
  })
  afterAll(async () => {
    vi.unstubAllEnvs()
    await aws.close()
  })
  beforeEach(() => {
    tokens = new EcrTokens()
  })
  afterEach(() => {
    Object.assign(aws, { tokenLifeMs: 12 * HOUR, failure: undefined, hangs: false })
    aws.calls.splice(0)
  })
  const get = (more: object = {}, repository = 'team/app', purpose: 'pull' | 'push' = 'pull') =>
    tokens.credential({ ...settings, ...more }, REGISTRY, repository, purpose)
  const actions = () => aws.calls.map(({ action }) => action)

  it('gives user AWS a password that lives as long as it says, one call for all that ask', async () => {
    const many = await Promise.all(Array.from({ length: 20 }, (_, at) => get({}, `team/app-${at}`)))
    expect(many[0]).toMatchObject({
      kind: 'basic',
      username: 'AWS',
      password: '123456789012-auth-token',
      source: 'ecr eu-central-1',
    })
    const { expiresAtMs = 0 } = many[0] ?? {}
    expect(Math.abs(expiresAtMs - Date.now() - 12 * HOUR)).toBeLessThan(10_000)
    expect(new Set(many.map((credential) => JSON.stringify(credential))).size).toBe(1)
    expect(aws.calls).toMatchObject([{ action: 'GetAuthorizationToken', accessKeyId: KEYS.accessKeyId }])
  })

  it('is asked again before the end, and the old password is served to its end while AWS fails', async () => {
    let nowMs = Date.now()
    tokens = new EcrTokens({ now: () => nowMs, random: () => 0 })
    const first = await get()
    aws.failure = { status: 400, type: 'ThrottlingException' }
    nowMs += 11 * HOUR
    expect(await get()).toEqual(first)
    await vi.waitFor(() => expect(aws.calls.length).toBeGreaterThan(1))
    expect(await get()).toEqual(first)
    nowMs += HOUR + 60_000
    await expect(get()).rejects.toMatchObject({ code: 'provider-throttled', retryable: true })
    aws.failure = undefined
    aws.tokenLifeMs = 24 * HOUR
    expect(await get()).not.toEqual(first)
  })

  it('says that a clock is wrong when the password it got has ended long ago', async () => {
    aws.tokenLifeMs = undefined
    await expect(get()).rejects.toMatchObject({
      code: 'provider-clock',
      message: expect.stringContaining('gave a token that ended at 2015-01-01T00:00:00.000Z'),
    })
  })

  it('is reached through a role with rights for one repository and one purpose', async () => {
    const role = { roleArn: ROLE, externalId: 'the-other-account' }
    const credential = await get(role)
    expect(credential).toMatchObject({ username: 'AWS', source: `ecr eu-central-1 as ${ROLE}` })
    // The session of the role lives an hour, its token no longer.
    expect((credential.expiresAtMs ?? 0) - Date.now()).toBeLessThanOrEqual(HOUR)
    expect(actions()).toEqual(['AssumeRole', 'GetAuthorizationToken'])
    const [assumed, asked] = aws.calls
    expect(Object.fromEntries(assumed?.form ?? [])).toMatchObject({
      RoleArn: ROLE,
      ExternalId: 'the-other-account',
      DurationSeconds: '3600',
    })
    expect(assumed?.form.get('Policy')).toContain('arn:aws:ecr:eu-central-1:123456789012:repository/team/app"')
    expect(asked?.accessKeyId).toMatch(/^ASIA/)
    await get(role)
    expect(aws.calls).toHaveLength(2)
    await get(role, 'team/other')
    await get(role, 'team/app', 'push')
    expect(actions().filter((action) => action === 'AssumeRole')).toHaveLength(3)
    expect(aws.calls.at(-2)?.form.get('Policy')).toContain('ecr:PutImage')
  })

  it('is forgotten with its settings', async () => {
    await get()
    tokens.forget(REGISTRY)
    await get()
    expect(aws.calls).toHaveLength(2)
  })

  it.each([
    [400, 'AccessDeniedException', 'provider-denied'],
    [400, 'UnrecognizedClientException', 'provider-unauthorized'],
    [400, 'ExpiredTokenException', 'provider-unauthorized'],
    [400, 'ServerException', 'provider-error'],
  ])('that answers %d %s is told as %s, with what it said', async (status, type, code) => {
    aws.failure = { status, type, message: 'User: arn:aws:iam::1:user/x may not' }
    const failure = await get().catch((thrown: unknown) => thrown)
    expect(failure).toMatchObject({
      code,
      message: `GetAuthorizationToken of ECR in eu-central-1 failed: ${type}: User: arn:aws:iam::1:user/x may not`,
    })
    expect(String(failure)).not.toContain(KEYS.secretAccessKey)
  })

  it('names the role that may not be assumed', async () => {
    aws.failure = { status: 403, type: 'AccessDenied', message: 'not authorized to perform: sts:AssumeRole' }
    await expect(get({ roleArn: ROLE })).rejects.toMatchObject({
      code: 'provider-denied',
      message: `AssumeRole of ${ROLE} failed: AccessDenied: not authorized to perform: sts:AssumeRole`,
    })
  })

  it('that cannot be reached is told so, and an endpoint of its own is used', async () => {
    await expect(get({ endpoint: 'http://127.0.0.1:1' })).rejects.toMatchObject({
      code: 'provider-unreachable',
      retryable: true,
    })
    expect(aws.calls).toEqual([])
    vi.stubEnv('AWS_ENDPOINT_URL', 'http://127.0.0.1:1')
    vi.stubEnv('AWS_ENDPOINT_URL_ECR', aws.url)
    expect(await get()).toMatchObject({ username: 'AWS' })
    vi.stubEnv('AWS_ENDPOINT_URL_ECR', '')
    vi.stubEnv('AWS_ENDPOINT_URL', aws.url)
  })

  it('without a key anywhere says that a key is missing', async () => {
    const failure = tokens.credential({ kind: 'ecr', region: 'eu-central-1' }, REGISTRY, 'a', 'pull')
    await expect(failure).rejects.toMatchObject({
      code: 'provider-unauthorized',
      hint: expect.stringContaining('--access-key-id'),
    })
  })

  it('gives up waiting with its caller', async () => {
    aws.hangs = true
    const signal = AbortSignal.timeout(200)
    const beganMs = Date.now()
    await expect(tokens.credential(settings, REGISTRY, 'a', 'pull', signal)).rejects.toMatchObject({
      name: 'TimeoutError',
    })
    expect(Date.now() - beganMs).toBeLessThan(5_000)
  })
})

/** What the public registry's API is documented to take and give (ECR Public API Reference, GetAuthorizationToken): moto has none. */
describe('Amazon ECR Public', () => {
  it('is asked in us-east-1 and gives one password without a registry’s name', async () => {
    const seen: { target: unknown; type: unknown; scope: string; body: string }[] = []
    const expiresAtS = Math.floor(Date.now() / 1000) + 43_200
    const answerPublic = (request: IncomingMessage, response: ServerResponse, body: string): void => {
      const [, scope = ''] = /Credential=[^/]+\/\d+\/([^/]+\/[^/]+)\//.exec(request.headers.authorization ?? '') ?? []
      seen.push({
        target: request.headers['x-amz-target'],
        type: request.headers['content-type'],
        scope,
        body,
      })
      const authorizationToken = Buffer.from('AWS:public-password').toString('base64')
      const answer = { authorizationData: { authorizationToken, expiresAt: expiresAtS } }
      response.writeHead(200, { 'content-type': 'application/x-amz-json-1.1' }).end(JSON.stringify(answer))
    }
    const server = createServer((request, response) => {
      const chunks: Buffer[] = []
      request.on('data', (chunk: Buffer) => void chunks.push(chunk))
      request.on('end', () => answerPublic(request, response, Buffer.concat(chunks).toString('utf8')))
    })
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    const endpoint = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
    try {
      const ofPublic = { kind: 'ecr-public', region: 'us-east-1', endpoint, keys: KEYS } as const
      expect(await new EcrTokens().credential(ofPublic, 'public.ecr.aws', 'alias/app', 'pull')).toEqual({
        kind: 'basic',
        username: 'AWS',
        password: 'public-password',
        expiresAtMs: expiresAtS * 1000,
        source: 'ecr-public',
      })
      expect(seen).toEqual([
        {
          target: 'SpencerFrontendService.GetAuthorizationToken',
          type: 'application/x-amz-json-1.1',
          scope: 'us-east-1/ecr-public',
          body: '{}',
        },
      ])
    } finally {
      server.close()
      server.closeAllConnections()
    }
  })
})
