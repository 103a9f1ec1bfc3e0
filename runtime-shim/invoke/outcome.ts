import { errorEntry } from '../../api/index.ts'
import { AppError, toAppError } from '../../common/index.ts'
import type { ExitInfo } from '../instances/index.ts'

/** The end of a call that failed: its documented number (facts: scf-contract 1.9), its text, and whether the instance may be used again. */
export interface Failure {
  number: number
  message: string
  stackTrace?: string
  /** Why the instance must end, or undefined when it stays. */
  recycle?: string
}

/** The exact sentence of scf-contract 1.3 (no space after `30000ms.`). */
export const NO_LISTENER =
  'The request timed out in 30000ms.Please confirm your http server have enabled listening on port 9000.'

/** What a call is told when no instance could be had for it. */
export function startFailure(thrown: unknown): Failure {
  const error = toAppError(thrown)
  if (error.code === 'port-binding-failed') return { number: 446, message: NO_LISTENER }
  const number = errorEntry(error.code).number ?? 500
  return { number, message: error.hint === undefined ? error.message : `${error.message}; ${error.hint}` }
}

/** What a call is told when its connection broke after bytes were sent: by what became of the process. */
export function brokenConnection(exit: ExitInfo | undefined, cause: unknown): Failure {
  if (exit?.oom === true)
    return { number: 434, message: 'Memory limit reached: the process was killed', recycle: 'out of memory' }
  if (exit !== undefined) {
    const how = exit.signal === null ? `code ${exit.code}` : `signal ${exit.signal}`
    return { number: 439, message: `User process exit when running: ${how}`, recycle: 'process exited' }
  }
  const why = cause instanceof Error ? cause.message : String(cause)
  return {
    number: 430,
    message: `the function ended the connection without an answer: ${why}`,
    recycle: 'connection broken',
  }
}

export function timeLimit(timeoutSeconds: number): Failure {
  const message = `Invoking task timed out after ${timeoutSeconds} seconds`
  return { number: 433, message, recycle: 'execution timeout' }
}

/** Raised inside a call at its deadline. */
export function deadlineReached(): AppError {
  return new AppError('execution timeout', { code: 'deadline-reached', fault: 'user' })
}
