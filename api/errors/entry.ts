import type { CallNumber } from '../numbers.ts'

/** How a command of the CLI ends for an error: the kinds that a script can tell apart (numbers: cli/exit-codes.ts). */
export type ExitKind =
  | 'internal'
  | 'usage'
  | 'refused'
  | 'denied'
  | 'missing'
  | 'conflict'
  | 'unavailable'
  | 'dependency'
  | 'function'

export interface ErrorEntry {
  /** HTTP status of an API answer with this code. */
  status: number
  exit: ExitKind
  title: string
  meaning: string
  /** The documented number of a call that ends for this reason. */
  number?: CallNumber
}

/** One line of a code table: status, exit, title, meaning, number of a call. */
export function entry(status: number, exit: ExitKind, title: string, meaning: string, number?: CallNumber): ErrorEntry {
  return number === undefined ? { status, exit, title, meaning } : { status, exit, title, meaning, number }
}
