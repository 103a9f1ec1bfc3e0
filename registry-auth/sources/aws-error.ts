import { AppError, type AppErrorOptions, errnoOf, messageOf } from '../../common/index.ts'

/** Names that AWS services and its SDK give to failures ("Common Errors" of the ECR, ECR Public and STS API references). */
const KINDS: readonly [kind: Kind, names: RegExp][] = [
  ['throttled', /Throttl|TooManyRequests|RequestLimitExceeded|LimitExceededException|SlowDown/],
  ['clock', /RequestTimeTooSkewed|RequestExpired|RequestInTheFuture/],
  ['denied', /AccessDenied|UnauthorizedOperation|^Forbidden|OptInRequired|RegionDisabled/],
  [
    'login',
    /CredentialsProviderError|UnrecognizedClient|InvalidClientTokenId|InvalidAccessKeyId|MissingAuthenticationToken|ExpiredToken|IncompleteSignature|InvalidSignature|SignatureDoesNotMatch|TokenRefreshRequired|AuthFailure/,
  ],
]
type Kind = 'throttled' | 'clock' | 'denied' | 'login' | 'unreachable' | 'other'

const UNREACHABLE =
  /^(?:ECONN|ENOTFOUND|EAI_AGAIN|EHOSTUNREACH|ENETUNREACH|ETIMEDOUT|EPIPE|EPROTO|.*CERT|ERR_TLS|UNABLE_TO)/

const VERDICTS: Record<Kind, Pick<AppErrorOptions, 'code' | 'fault' | 'retryable'> & { hint: string }> = {
  throttled: {
    code: 'provider-throttled',
    fault: 'dependency',
    retryable: true,
    hint: 'AWS counts calls for each account and region: try again in a minute',
  },
  clock: {
    code: 'provider-clock',
    fault: 'system',
    hint: 'set the clock of this machine: AWS refuses requests that are over 5 minutes off',
  },
  denied: {
    code: 'provider-denied',
    fault: 'user',
    hint: 'grant the action that is named to the principal that is named, or use another role: slipway registry add HOST --role-arn ARN',
  },
  login: {
    code: 'provider-unauthorized',
    fault: 'user',
    hint: 'give an access key (slipway registry add HOST --access-key-id ID), or run where AWS gives one (instance, task or pod role)',
  },
  unreachable: {
    code: 'provider-unreachable',
    fault: 'dependency',
    retryable: true,
    hint: 'check region and network; an endpoint of your own is named by --endpoint or AWS_ENDPOINT_URL_ECR',
  },
  other: { code: 'provider-error', fault: 'dependency', hint: 'see what AWS says' },
}

const MAX_SAID = 500

/** What the SDK threw, in our words. `what` is a verb phrase: `GetAuthorizationToken of ECR in eu-central-1`. */
export function awsError(what: string, thrown: unknown): AppError {
  if (thrown instanceof AppError) return thrown
  const kind = kindOf(thrown)
  const name = nameOf(thrown)
  const said = messageOf(thrown)
    .replace(/[\p{C}\s]+/gu, ' ')
    .slice(0, MAX_SAID)
  const status = statusOf(thrown)
  return new AppError(`${what} failed: ${name}${said === '' || said === name ? '' : `: ${said}`}`, {
    ...VERDICTS[kind],
    details: { provider: 'aws', error: name, ...(status === undefined ? {} : { status }) },
    cause: thrown,
  })
}

function kindOf(thrown: unknown): Kind {
  const name = nameOf(thrown)
  // A wrong clock is told by the words of a signature error: "Signature expired", "Signature not yet current".
  if (/[Ss]ignature (?:expired|not yet current)/.test(messageOf(thrown))) return 'clock'
  const known = KINDS.find(([, names]) => names.test(name))
  if (known !== undefined) return known[0]
  if (name === 'TimeoutError' || UNREACHABLE.test(errnoOf(thrown) ?? '')) return 'unreachable'
  if (statusOf(thrown) === 429) return 'throttled'
  return (statusOf(thrown) ?? 0) >= 502 ? 'unreachable' : 'other'
}

function nameOf(thrown: unknown): string {
  const name = thrown instanceof Error ? thrown.name : 'error'
  return name === 'Error' || name === 'AggregateError' ? (errnoOf(thrown) ?? name) : name
}

function statusOf(thrown: unknown): number | undefined {
  const metadata: unknown = typeof thrown === 'object' && thrown !== null ? Reflect.get(thrown, '$metadata') : undefined
  const status: unknown =
    typeof metadata === 'object' && metadata !== null ? Reflect.get(metadata, 'httpStatusCode') : undefined
  return typeof status === 'number' ? status : undefined
}
