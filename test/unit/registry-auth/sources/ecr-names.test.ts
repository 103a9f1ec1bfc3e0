import { describe, expect, it } from 'vitest'
import { awsError } from '../../../../registry-auth/sources/aws-error.ts'
import { parseEcrHost, sessionPolicy } from '../../../../registry-auth/sources/ecr-names.ts'

describe('the host of an ECR registry', () => {
  it.each([
    [
      '123456789012.dkr.ecr.eu-central-1.amazonaws.com',
      { kind: 'ecr', account: '123456789012', region: 'eu-central-1' },
    ],
    ['123456789012.dkr.ecr-fips.us-gov-west-1.amazonaws.com', { kind: 'ecr', region: 'us-gov-west-1' }],
    ['123456789012.dkr.ecr.cn-north-1.amazonaws.com.cn', { kind: 'ecr', region: 'cn-north-1' }],
    ['123456789012.dkr-ecr.eu-west-1.on.aws', { kind: 'ecr', region: 'eu-west-1' }],
    ['public.ecr.aws', { kind: 'ecr-public', region: 'us-east-1' }],
  ])('%s tells %j', (host, told) => {
    expect(parseEcrHost(host)).toMatchObject(told)
  })

  it.each([
    '123456789012.dkr.ecr.eu-central-1.amazonaws.com.evil.example',
    'x.public.ecr.aws',
    '12.dkr.ecr.a.amazonaws.com',
  ])('%s is none', (host) => {
    expect(parseEcrHost(host)).toBeUndefined()
  })
})

describe('the session policy of one access', () => {
  const base = { region: 'eu-central-1', roleArn: 'arn:aws-cn:iam::210987654321:role/puller', repository: 'team/app' }
  const read = (text: string) =>
    (JSON.parse(text) as { Statement: { Action: string[]; Resource: string }[] }).Statement.map(
      ({ Action, Resource }) => `${Action.join(',')} on ${Resource}`,
    )

  it('of a pull reads one repository of the registry’s account', () => {
    expect(read(sessionPolicy({ ...base, kind: 'ecr', account: '123456789012', purpose: 'pull' }))).toEqual([
      'ecr:GetAuthorizationToken on *',
      'ecr:BatchGetImage,ecr:GetDownloadUrlForLayer,ecr:BatchCheckLayerAvailability on arn:aws-cn:ecr:eu-central-1:123456789012:repository/team/app',
    ])
  })

  it('of a push writes one repository, of the role’s account where the host tells none', () => {
    const [, push = ''] = read(sessionPolicy({ ...base, kind: 'ecr', account: undefined, purpose: 'push' }))
    expect(push).toContain('ecr:PutImage')
    expect(push).toContain('on arn:aws-cn:ecr:eu-central-1:210987654321:repository/team/app')
  })

  it('of the public registry leaves a pull the token alone, and a push its repository without the alias', () => {
    const ofPull = read(sessionPolicy({ ...base, kind: 'ecr-public', account: undefined, purpose: 'pull' }))
    expect(ofPull).toEqual(['ecr-public:GetAuthorizationToken,sts:GetServiceBearerToken on *'])
    const [, push = ''] = read(sessionPolicy({ ...base, kind: 'ecr-public', account: undefined, purpose: 'push' }))
    expect(push).toMatch(/ecr-public:PutImage on arn:aws-cn:ecr-public::210987654321:repository\/app$/)
  })
})

describe('a failure of AWS', () => {
  const failure = (name: string, message = 'said', more: object = {}) =>
    Object.assign(new Error(message), name === '' ? {} : { name }, more)
  it.each([
    [failure('ThrottlingException'), 'provider-throttled', true],
    [failure('TooManyRequestsException'), 'provider-throttled', true],
    [failure('x', 'slow down', { $metadata: { httpStatusCode: 429 } }), 'provider-throttled', true],
    [
      failure('AccessDeniedException', 'User: arn:… is not authorized to perform: ecr:GetAuthorizationToken'),
      'provider-denied',
      false,
    ],
    [
      failure('CredentialsProviderError', 'Could not load credentials from any providers'),
      'provider-unauthorized',
      false,
    ],
    [failure('UnrecognizedClientException'), 'provider-unauthorized', false],
    [failure('ExpiredTokenException'), 'provider-unauthorized', false],
    [
      failure('InvalidSignatureException', 'Signature expired: 20261121T… is now earlier than …'),
      'provider-clock',
      false,
    ],
    [failure('RequestTimeTooSkewed'), 'provider-clock', false],
    [failure('TimeoutError'), 'provider-unreachable', true],
    [failure('', 'connect ECONNREFUSED 127.0.0.1:1', { code: 'ECONNREFUSED' }), 'provider-unreachable', true],
    [failure('', 'getaddrinfo ENOTFOUND api.ecr.nowhere', { code: 'ENOTFOUND' }), 'provider-unreachable', true],
    [failure('ServerException', 'sorry', { $metadata: { httpStatusCode: 500 } }), 'provider-error', false],
  ])('%s is told as %s', (thrown, code, retryable) => {
    const error = awsError('GetAuthorizationToken of ECR in eu-central-1', thrown)
    expect(error).toMatchObject({ code, retryable, hint: expect.any(String) })
    expect(error.message).toContain(thrown.message)
  })
})
