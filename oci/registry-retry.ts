import { AppError, errnoOf, messageOf } from '../common/index.ts'
import { SourceError } from './http-body.ts'

/** The longest wait that a registry may ask for and get; beyond it the failure is told at once. */
const MAX_WAIT_MS = 60_000

/** For `retry`: whether a failure may pass, and how long the registry asked to wait (ms). */
export function retryDecision(thrown: unknown): boolean | number {
  if (!(thrown instanceof AppError) || !thrown.retryable) return false
  const asked = thrown.details['retryAfterMs']
  if (typeof asked !== 'number') return true
  return asked <= MAX_WAIT_MS ? asked : false
}

/** `Retry-After` in ms from now: seconds or a date (RFC 9110, 10.2.3); undefined when absent or unreadable. */
export function retryAfterMs(header: string, nowMs: number): number | undefined {
  if (/^[0-9]{1,9}$/.test(header)) return Number(header) * 1000
  const at = header === '' ? Number.NaN : Date.parse(header)
  return Number.isNaN(at) ? undefined : Math.max(0, at - nowMs)
}

/** Failures of the connection that a second try does not mend. */
const LASTING = /^(?:ENOTFOUND|EPROTO|ERR_TLS_.*|ERR_SSL_.*|CERT_.*|.*_CERT(?:_.*)?|UNABLE_TO_.*|HOSTNAME_MISMATCH)$/

/** Wraps what undici threw. Errors that are told already pass as they are. */
export function unreachableError(registry: string, what: string, thrown: unknown): AppError {
  if (thrown instanceof AppError) return thrown
  if (thrown instanceof SourceError) throw thrown.cause
  const code = errnoOf(thrown) ?? ''
  if (code === 'UND_ERR_REQ_CONTENT_LENGTH_MISMATCH') {
    return new AppError(`${what} failed: what is sent is not as long as its descriptor says`, {
      code: 'digest-mismatch',
      cause: thrown,
    })
  }
  const lasting = LASTING.test(code)
  return new AppError(`${what} failed: ${registry} cannot be reached: ${messageOf(thrown) || code}`, {
    code: 'registry-unreachable',
    fault: 'dependency',
    retryable: !lasting,
    hint: /CERT|TLS|SSL|EPROTO|UNABLE_TO/.test(code)
      ? 'the registry must speak https with a certificate that this machine trusts'
      : `check that ${registry} is running and can be reached from here`,
    details: { registry, cause: code },
    cause: thrown,
  })
}
