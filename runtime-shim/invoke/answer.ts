import type { EventAnswer } from './answer-reader.ts'
import type { Failure } from './outcome.ts'

/** `json` is the result as JSON text. */
export type EventOutcome = { ok: true; json: string } | { ok: false; failure: Failure }

const MAX_MESSAGE = 64 * 1024

/** What the function's answer means: JSON as it is, plain text as a JSON string, a status of 400 or more as its exception (430). */
export function readAnswer(answer: EventAnswer): EventOutcome {
  const { status, body } = answer
  if (status >= 400) return { ok: false, failure: exception(body) }
  return { ok: true, json: parseJson(body) === undefined ? JSON.stringify(body) : body }
}

/** Undefined when it is no JSON. */
function parseJson(text: string): unknown {
  try {
    return JSON.parse(text) as unknown
  } catch {
    return undefined
  }
}

/** What a function's own server may say of itself: its exception, a handler that is not there, code that cannot be loaded. */
const OWN_NUMBERS = new Set<unknown>([430, 437, 443])

/** Adapters answer `{"errorMessage","stackTrace","statusCode"}`; whatever else comes is the message itself. */
function exception(text: string): Failure {
  const value = parseJson(text)
  if (typeof value === 'object' && value !== null && 'errorMessage' in value) {
    const message = textOf(value.errorMessage).slice(0, MAX_MESSAGE)
    const stated = 'statusCode' in value ? value.statusCode : undefined
    const number = OWN_NUMBERS.has(stated) ? Number(stated) : 430
    const stack = 'stackTrace' in value ? { stackTrace: textOf(value.stackTrace).slice(0, MAX_MESSAGE) } : {}
    return { number, message, ...stack }
  }
  return { number: 430, message: text.slice(0, MAX_MESSAGE) || 'user code exception caught' }
}

/** Any JSON value as text; `String` throws for an object whose `toString` is no function. */
function textOf(value: unknown): string {
  return typeof value === 'string' ? value : JSON.stringify(value)
}

/** The body of a failed call, in the shape of scf-contract 1.8. */
export function failureResult(failure: Failure, requestId: string): Record<string, unknown> {
  return {
    errorCode: -1,
    errorMessage: failure.message,
    requestId,
    ...(failure.stackTrace === undefined ? {} : { stackTrace: failure.stackTrace }),
    statusCode: failure.number,
  }
}
