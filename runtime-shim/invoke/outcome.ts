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
  if (exit?.oom === true) return outOfMemory()
  if (exit !== undefined) {
    // The kernel tells the parent which of the two it was; container runtimes tell us one number for both.
    const how = exit.signal === null ? `code ${exit.code}` : `code ${exit.code}, as by ${exit.signal}`
    return { number: 439, message: `User process exit when running: ${how}`, recycle: 'process exited' }
  }
  const why = cause instanceof Error ? cause.message : String(cause)
  return {
    number: 430,
    message: `the function ended the connection without an answer: ${why}`,
    recycle: 'connection broken',
  }
}

export function outOfMemory(): Failure {
  return { number: 434, message: 'Memory limit reached: a process was killed', recycle: 'out of memory' }
}

/** Nothing is known of the function then: it gets no other call. */
export function ownFault(): Failure {
  return {
    number: 500,
    message: 'InternalError: the call failed in the platform; its log says more',
    recycle: 'call failed',
  }
}

/** What a call is told whose answer came and could not be taken. */
export function refusedAnswer({ code, message }: AppError): Failure {
  const number = errorEntry(code).number ?? 430
  return code === 'answer-malformed' ? { number, message, recycle: 'connection broken' } : { number, message }
}

export function timeLimit(timeoutSeconds: number): Failure {
  const message = `Invoking task timed out after ${timeoutSeconds} seconds`
  return { number: 433, message, recycle: 'execution timeout' }
}

/** Raised inside a call at its deadline. */
export function deadlineReached(): AppError {
  return new AppError('execution timeout', { code: 'deadline-reached', fault: 'user' })
}
