import { AppError, type AppErrorOptions } from '../common/index.ts'
import type { Credential } from './credential.ts'

/** A refused request: its status, the registry's own words, and what decides between the errors. */
export interface Refusal {
  status: number
  body: string
  /** `error="insufficient_scope"` in the challenge: tells a missing right from a wrong password. */
  insufficientScope: boolean
  /** The answer came from a host that the registry had redirected to. */
  redirected: boolean
  retryAfterMs: number | undefined
  /** What the request needs: `repository:NAME:pull`. */
  scopes: readonly string[]
  /** What was shown to the registry. */
  credential: Credential
}

const MAX_SAID = 500

/**
 * Turns a refusal of the registry into the error that says what to do about it (status map: facts registry-auth 3.1).
 * `what` is a verb phrase: `pull of manifest latest from default/hello`.
 */
export function refusalError(registry: string, what: string, refusal: Refusal): AppError {
  const { status, retryAfterMs } = refusal
  const said = registryWords(refusal.body)
  const words = said.text === '' ? '' : ` (${said.text})`
  return new AppError(`${what} failed: ${registry} answered ${status}${words}`, {
    details: { registry, status, registryCodes: said.codes, ...(retryAfterMs === undefined ? {} : { retryAfterMs }) },
    ...verdict(registry, refusal, said.codes),
  })
}

function verdict(registry: string, refusal: Refusal, codes: string[]): AppErrorOptions {
  const { status, insufficientScope, redirected } = refusal
  if (redirected && status === 403) {
    // A storage back end refuses an address whose time is over: the registry gives a new one.
    return { code: 'registry-error', fault: 'dependency', retryable: true, hint: 'try again' }
  }
  if (status === 403 || (status === 401 && insufficientScope)) {
    const hint = `${whose(refusal.credential)} lacks the right ${refusal.scopes.join(' ')}: ask for it, or use another`
    return { code: 'registry-denied', fault: 'user', hint }
  }
  if (status === 401) return unauthorized(registry, refusal.credential)
  if (codes.includes('DIGEST_INVALID') && status === 400) {
    return { code: 'digest-mismatch', fault: 'system', hint: 'what was sent is not what its digest says: try again' }
  }
  if (codes.some((code) => code.startsWith('BLOB_UPLOAD_')) && status === 404) {
    // The registry was restarted or gave the upload up: a new one may succeed.
    return { code: 'registry-error', fault: 'dependency', retryable: true, hint: 'try again' }
  }
  if (status === 404 && !codes.includes('UNSUPPORTED')) {
    const hint = 'check repository, tag and digest; the credential may also lack the right to see it'
    return { code: 'image-not-found', fault: 'user', hint }
  }
  if (status === 405) {
    const hint = 'the registry does not allow this: it is read-only, or deletion is switched off'
    return { code: 'registry-error', fault: 'dependency', hint }
  }
  const retryable = isTransient(status)
  const hint = retryable ? 'try again later' : 'see what the registry says'
  return { code: 'registry-error', fault: 'dependency', retryable, hint }
}

export function unauthorized(registry: string, credential: Credential): AppErrorOptions {
  const hint =
    credential.kind === 'anonymous'
      ? `no credential is known for ${registry}: slipway registry login ${registry}`
      : `${whose(credential)}: check it, and that it has not expired`
  return { code: 'registry-unauthorized', fault: 'user', hint }
}

function whose({ kind, source }: Credential): string {
  if (kind === 'anonymous') return 'access without a credential'
  return source === undefined ? 'the credential' : `the credential from ${source}`
}

/** Statuses after which the same request may succeed: timeouts, throttling and failures of servers on the way. */
function isTransient(status: number): boolean {
  return status === 408 || status === 429 || (status >= 500 && status !== 501 && status !== 505)
}

/** The codes and messages of the registry's JSON errors; of another body its beginning, without control characters. */
function registryWords(body: string): { codes: string[]; text: string } {
  const errors = parseErrors(body)
  const codes = errors.map((error) => textOf(error, 'code')).filter((code) => /^[A-Z_]{1,40}$/.test(code))
  const words = errors.map((error) => `${textOf(error, 'code')}: ${textOf(error, 'message')}`).join('; ') || body
  return { codes, text: printable(words).slice(0, MAX_SAID) }
}

function parseErrors(body: string): object[] {
  try {
    const parsed: unknown = JSON.parse(body)
    if (typeof parsed !== 'object' || parsed === null || !('errors' in parsed) || !Array.isArray(parsed.errors))
      return []
    return parsed.errors.filter((error) => typeof error === 'object' && error !== null).slice(0, 5)
  } catch {
    return []
  }
}

function textOf(error: object, key: string): string {
  const value: unknown = Reflect.get(error, key)
  return typeof value === 'string' ? value : ''
}

function printable(text: string): string {
  return text.replace(/[\p{C}\s]+/gu, ' ').trim()
}
