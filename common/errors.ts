/**
 * The one error class of the project. Codes are listed in api/errors.ts with HTTP status and exit code;
 * a test keeps that list and the codes thrown in the source equal.
 */
export type Fault = 'user' | 'system' | 'dependency'

export interface AppErrorOptions {
  /** Registered code, kebab-case, for example `image-not-found`. */
  code: string
  /** Who has to act: the caller, we, or something we depend on. Default `system`. */
  fault?: Fault
  /** Whether the same call may succeed later without any change. Default false. */
  retryable?: boolean
  /** What the reader can do about it, as a sentence. */
  hint?: string
  /** Facts for machines; never a secret. */
  details?: Record<string, unknown>
  cause?: unknown
}

/** An error that says what failed, on what and why (message) and what to do (hint). */
export class AppError extends Error {
  readonly code: string
  readonly fault: Fault
  readonly retryable: boolean
  readonly hint: string | undefined
  readonly details: Record<string, unknown>

  constructor(message: string, options: AppErrorOptions) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause })
    this.name = 'AppError'
    this.code = options.code
    this.fault = options.fault ?? 'system'
    this.retryable = options.retryable ?? false
    this.hint = options.hint
    this.details = options.details ?? {}
  }
}

/** Turns anything thrown into an AppError; what is not one already becomes an `internal` system fault. */
export function toAppError(thrown: unknown): AppError {
  if (thrown instanceof AppError) return thrown
  return new AppError(messageOf(thrown), { code: 'internal', cause: thrown })
}

export function messageOf(thrown: unknown): string {
  return thrown instanceof Error ? thrown.message : String(thrown)
}

/** The `code` of a Node system error (`ENOENT`), or undefined. */
export function errnoOf(thrown: unknown): string | undefined {
  return thrown instanceof Error && 'code' in thrown && typeof thrown.code === 'string' ? thrown.code : undefined
}

/** The plain form in which an error crosses a process boundary. */
export interface PlainError {
  code: string
  message: string
  fault: Fault
  retryable: boolean
  hint?: string
  details: Record<string, unknown>
}

export function toPlainError(thrown: unknown): PlainError {
  const error = toAppError(thrown)
  const { code, message, fault, retryable, hint, details } = error
  return hint === undefined
    ? { code, message, fault, retryable, details }
    : { code, message, fault, retryable, hint, details }
}

export function fromPlainError(plain: PlainError): AppError {
  return new AppError(plain.message, plain)
}
