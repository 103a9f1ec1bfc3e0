import type { Purpose } from '../credential.ts'

/** What an ECR host name says (AWS, "Amazon ECR private registries"): `123456789012.dkr.ecr.eu-central-1.amazonaws.com`. */
export interface EcrHost {
  kind: 'ecr' | 'ecr-public'
  account?: string
  region: string
}

const PRIVATE = /^(\d{12})\.dkr\.ecr(?:-fips)?\.([a-z0-9-]+)\.amazonaws\.com(?:\.cn)?$/
/** The same over IPv4 and IPv6 (AWS, "Making API requests over IPv6"): `123456789012.dkr-ecr.eu-central-1.on.aws`. */
const PRIVATE_DUAL_STACK = /^(\d{12})\.dkr-ecr\.([a-z0-9-]+)\.on\.(?:aws|amazonwebservices\.com\.cn)$/
const PUBLIC = ['public.ecr.aws', 'ecr-public.aws.com']
/** The public registry's API exists there only (AWS, "Amazon ECR Public endpoints and quotas"). */
export const PUBLIC_REGION = 'us-east-1'

export function parseEcrHost(registry: string): EcrHost | undefined {
  const host = registry.toLowerCase()
  if (PUBLIC.includes(host)) return { kind: 'ecr-public', region: PUBLIC_REGION }
  const [, account, region] = PRIVATE.exec(host) ?? PRIVATE_DUAL_STACK.exec(host) ?? []
  return account === undefined || region === undefined ? undefined : { kind: 'ecr', account, region }
}

export const ROLE_ARN = /^arn:(aws[a-z-]*):iam::(\d{12}):role\/[\w+=,.@/-]{1,512}$/

/** What pulling and pushing call (AWS, "Identity-based policy examples for Amazon ECR" and "… ECR Public"). */
const PULL_ACTIONS = ['BatchGetImage', 'GetDownloadUrlForLayer', 'BatchCheckLayerAvailability']
const PUSH_ACTIONS = [
  'BatchCheckLayerAvailability',
  'InitiateLayerUpload',
  'UploadLayerPart',
  'CompleteLayerUpload',
  'PutImage',
]

/**
 * The session policy that leaves of a role's rights only what one pull or push of one repository needs. Rights are the intersection
 * of role and policy: it takes away, it never adds.
 */
export function sessionPolicy(options: {
  kind: EcrHost['kind']
  region: string
  roleArn: string
  account: string | undefined
  repository: string
  purpose: Purpose
}): string {
  const { kind, region, roleArn, repository, purpose } = options
  const [, partition = 'aws', roleAccount = ''] = ROLE_ARN.exec(roleArn) ?? []
  const account = options.account ?? roleAccount
  const statement = (actions: readonly string[], resource: string) => ({
    Effect: 'Allow',
    Action: actions,
    Resource: resource,
  })
  const actions = purpose === 'pull' ? PULL_ACTIONS : [...new Set([...PULL_ACTIONS, ...PUSH_ACTIONS])]
  const statements =
    kind === 'ecr'
      ? [
          statement(['ecr:GetAuthorizationToken'], '*'),
          statement(
            actions.map((action) => `ecr:${action}`),
            `arn:${partition}:ecr:${region}:${account}:repository/${repository}`,
          ),
        ]
      : [
          statement(['ecr-public:GetAuthorizationToken', 'sts:GetServiceBearerToken'], '*'),
          // Everybody may pull there; a repository is known in the API without the alias it has in references.
          ...(purpose === 'pull'
            ? []
            : [
                statement(
                  PUSH_ACTIONS.map((action) => `ecr-public:${action}`),
                  `arn:${partition}:ecr-public::${account}:repository/${repository.split('/').slice(1).join('/')}`,
                ),
              ]),
        ]
  return JSON.stringify({ Version: '2012-10-17', Statement: statements })
}
