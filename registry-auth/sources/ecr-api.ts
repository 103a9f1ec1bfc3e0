import { AppError } from '../../common/index.ts'
import type { Purpose } from '../credential.ts'
import { awsError } from './aws-error.ts'
import { type EcrHost, PUBLIC_REGION, sessionPolicy } from './ecr-names.ts'
import type { Expiring } from './renewing.ts'

/** How an ECR registry is asked for its tokens. */
export interface EcrSettings {
  kind: EcrHost['kind']
  /** Of the registry; of the public one always us-east-1. */
  region: string
  /** Account that the repository belongs to, where the host name tells it. */
  account?: string
  /** Assumed for each repository, with rights narrowed to it: the way into another account. */
  roleArn?: string
  /** What the other account asks for (AWS, "the confused deputy problem"). */
  externalId?: string
  /** An ECR API endpoint of your own; others come from AWS_ENDPOINT_URL_ECR, AWS_ENDPOINT_URL_STS and so on. */
  endpoint?: string
  /** Absent: what the SDK finds (environment, container, pod or instance role). */
  keys?: { accessKeyId: string; secretAccessKey: string }
}

export interface EcrToken {
  username: string
  password: string
}

interface AwsCredentials {
  accessKeyId: string
  secretAccessKey: string
  sessionToken?: string
}

/** A cold start waits for this: three tries within 20 s are all the patience there is. */
const CLIENT = { maxAttempts: 3, requestHandler: { connectionTimeout: 3_000, requestTimeout: 8_000 } }
const OVERALL_MS = 20_000
/** The longest session of a role that was reached from another role (AWS, AssumeRole, role chaining). */
const SESSION_S = 3_600

/**
 * Asks AWS for a token of the registry, through the role where one is given. Throws `provider-unauthorized`, `provider-denied`,
 * `provider-throttled`, `provider-clock`, `provider-unreachable`, `provider-error`.
 */
export async function askEcr(
  settings: EcrSettings,
  repository: string,
  purpose: Purpose,
  nowMs: number,
  caller: AbortSignal,
): Promise<Expiring<EcrToken>> {
  const signal = AbortSignal.any([caller, AbortSignal.timeout(OVERALL_MS)])
  const session =
    settings.roleArn === undefined
      ? undefined
      : await assumeRole(settings, settings.roleArn, repository, purpose, signal)
  const what = `GetAuthorizationToken of ${settings.kind === 'ecr' ? `ECR in ${settings.region}` : 'ECR Public'}`
  const data = await authorizationData(settings, session?.value ?? settings.keys, signal).catch((thrown: unknown) => {
    caller.throwIfAborted()
    throw awsError(what, thrown)
  })
  const token = Buffer.from(data.authorizationToken ?? '', 'base64').toString('utf8')
  const colon = token.indexOf(':')
  const saidMs = data.expiresAt?.getTime() ?? Number.NaN
  if (colon <= 0 || Number.isNaN(saidMs)) {
    throw new AppError(`${what} failed: the answer has no token, or no end of it`, {
      code: 'provider-error',
      fault: 'dependency',
    })
  }
  // Whether a token outlives the session that it was asked for with is written nowhere: the earlier end counts.
  const expiresAtMs = Math.min(saidMs, session?.expiresAtMs ?? Number.POSITIVE_INFINITY)
  if (expiresAtMs <= nowMs) {
    throw new AppError(`${what} gave a token that ended at ${new Date(expiresAtMs).toISOString()}`, {
      code: 'provider-clock',
      hint: `the clock of this machine says ${new Date(nowMs).toISOString()}: set it`,
    })
  }
  return { value: { username: token.slice(0, colon), password: token.slice(colon + 1) }, expiresAtMs }
}

interface AuthorizationData {
  authorizationToken?: string | undefined
  expiresAt?: Date | undefined
}

/** The SDK is loaded when the first registry of its kind is asked: it takes 10 MB and a third of a second, and most platforms never need it. */
async function authorizationData(
  { kind, region, endpoint }: EcrSettings,
  credentials: AwsCredentials | undefined,
  abortSignal: AbortSignal,
): Promise<AuthorizationData> {
  const own = {
    ...(endpoint === undefined ? {} : { endpoint }),
    ...(credentials === undefined ? {} : { credentials }),
  }
  if (kind === 'ecr') {
    const { ECRClient, GetAuthorizationTokenCommand } = await import('@aws-sdk/client-ecr')
    const client = new ECRClient({ ...CLIENT, region, ...own })
    try {
      const answer = await client.send(new GetAuthorizationTokenCommand({}), { abortSignal })
      return answer.authorizationData?.[0] ?? {}
    } finally {
      client.destroy()
    }
  }
  const { ECRPUBLICClient, GetAuthorizationTokenCommand } = await import('@aws-sdk/client-ecr-public')
  const client = new ECRPUBLICClient({ ...CLIENT, region: PUBLIC_REGION, ...own })
  try {
    return (await client.send(new GetAuthorizationTokenCommand({}), { abortSignal })).authorizationData ?? {}
  } finally {
    client.destroy()
  }
}

/** Credentials of the role, worth no more than one pull or push of this repository. */
async function assumeRole(
  settings: EcrSettings,
  roleArn: string,
  repository: string,
  purpose: Purpose,
  abortSignal: AbortSignal,
): Promise<Expiring<AwsCredentials>> {
  const { kind, region, account, externalId, keys } = settings
  const what = `AssumeRole of ${roleArn}`
  const { STSClient, AssumeRoleCommand } = await import('@aws-sdk/client-sts')
  const client = new STSClient({ ...CLIENT, region, ...(keys === undefined ? {} : { credentials: keys }) })
  try {
    const answer = await client.send(
      new AssumeRoleCommand({
        RoleArn: roleArn,
        RoleSessionName: `slipway-${purpose}`,
        DurationSeconds: SESSION_S,
        Policy: sessionPolicy({ kind, region, roleArn, account, repository, purpose }),
        ...(externalId === undefined ? {} : { ExternalId: externalId }),
      }),
      { abortSignal },
    )
    const { AccessKeyId, SecretAccessKey, SessionToken, Expiration } = answer.Credentials ?? {}
    if (AccessKeyId === undefined || SecretAccessKey === undefined || SessionToken === undefined) {
      throw new AppError(`${what} failed: the answer has no credentials`, {
        code: 'provider-error',
        fault: 'dependency',
      })
    }
    const expiresAtMs = Expiration?.getTime() ?? Date.now() + SESSION_S * 1_000
    return {
      value: { accessKeyId: AccessKeyId, secretAccessKey: SecretAccessKey, sessionToken: SessionToken },
      expiresAtMs,
    }
  } catch (thrown) {
    throw awsError(what, thrown)
  } finally {
    client.destroy()
  }
}
