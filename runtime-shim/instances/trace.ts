import type { ColdStart } from '../../api/index.ts'
import { AppError, toAppError } from '../../common/index.ts'

/** What a start has to tell, filled in while it goes on: all of a `ColdStart` but its total. */
export type StartTrace = Omit<ColdStart, 'totalMs'>

/** The same as who waited since `sinceMs` (monotonic clock) for a start that began at `beganMs` sees it. */
export function coldStartOf(trace: StartTrace, sinceMs: number, beganMs: number): ColdStart {
  const queue = Math.max(0, beganMs - sinceMs)
  return { totalMs: performance.now() - sinceMs, ...trace, phases: { queue, ...trace.phases } }
}

/** A start's failure with what the start had to tell, for the record of the call that waited for it. */
export function failedStart(thrown: unknown, coldStart: ColdStart): AppError {
  const error = toAppError(thrown)
  const { code, fault, retryable, hint } = error
  const details = { ...error.details, coldStart }
  return new AppError(error.message, {
    code,
    fault,
    retryable,
    details,
    ...(hint === undefined ? {} : { hint }),
    cause: thrown,
  })
}

/** What `failedStart` put there; null for every other failure. */
export function coldStartIn(thrown: unknown): ColdStart | null {
  const known = thrown instanceof AppError ? thrown.details['coldStart'] : undefined
  return typeof known === 'object' ? (known as ColdStart | null) : null
}
