export interface TokenAnswer {
  status: number
  headers: Record<string, string>
  body: string
}

/** Codes that registry clients know, for the statuses that this server answers. */
const CODES: Record<number, string> = { 401: 'UNAUTHORIZED', 429: 'TOOMANYREQUESTS', 503: 'UNAVAILABLE' }

/** Both forms in one body: registry clients show `errors`, OAuth2 clients `error`. */
export function refusal(
  status: number,
  error: string,
  message: string,
  headers: Record<string, string> = {},
): TokenAnswer {
  const errors = [{ code: CODES[status] ?? 'UNSUPPORTED', message, detail: null }]
  const answer = json(status, { error, error_description: message, errors })
  return { ...answer, headers: { ...answer.headers, ...headers } }
}

export function unauthorized(): TokenAnswer {
  return refusal(401, 'invalid_grant', 'wrong user name or password, or a credential that has ended', {
    'www-authenticate': 'Basic realm="slipway registry"',
  })
}

export function tooManyWrong(retryAfterS: number): TokenAnswer {
  const message = `too many wrong passwords from this address; try again in ${retryAfterS} s`
  return refusal(429, 'slow_down', message, { 'retry-after': String(retryAfterS) })
}

export function writesPaused(retryAfterS: number): TokenAnswer {
  const message = `the registry is being collected and takes no pushes; push again in ${retryAfterS} s`
  return refusal(503, 'temporarily_unavailable', message, { 'retry-after': String(retryAfterS) })
}

export function json(status: number, value: object): TokenAnswer {
  const headers = { 'content-type': 'application/json', 'cache-control': 'no-store' }
  return { status, headers, body: JSON.stringify(value) }
}
