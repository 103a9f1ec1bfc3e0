import Type, { type Static } from 'typebox'
import type { AppError } from '../common/index.ts'
import { errorEntry } from './errors.ts'

/** Every error answer of the API: RFC 9457 `application/problem+json`, with our code. */
export const Problem = Type.Object({
  type: Type.String(),
  title: Type.String(),
  status: Type.Integer(),
  code: Type.String({ description: 'registered in docs/ERRORS.md' }),
  detail: Type.String(),
  hint: Type.Optional(Type.String()),
  requestId: Type.String(),
  retryable: Type.Boolean(),
  details: Type.Optional(Type.Record(Type.String(), Type.Unknown())),
})
export type Problem = Static<typeof Problem>

/** The answer for an error. What we did not foresee (`internal`) says no more than where to look: its text may name anything. */
export function toProblem(error: AppError, requestId: string): Problem {
  const entry = errorEntry(error.code)
  const unforeseen = error.code === 'internal'
  const hint = unforeseen ? `look for ${requestId} in the server's log` : error.hint
  return {
    type: `urn:slipway:error:${error.code}`,
    title: entry.title,
    status: entry.status,
    code: error.code,
    detail: unforeseen ? 'the platform failed in a way it did not foresee' : error.message,
    ...(hint === undefined ? {} : { hint }),
    requestId,
    retryable: error.retryable,
    ...(Object.keys(error.details).length === 0 || unforeseen ? {} : { details: error.details }),
  }
}
