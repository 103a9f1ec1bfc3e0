import { type ExitKind, errorEntry } from '../api/index.ts'
import { toAppError } from '../common/index.ts'

/** How `slipway` ends. Scripts rely on these numbers; docs/ERRORS.md lists them. */
export const EXIT_CODES = {
  ok: { code: 0, meaning: 'done' },
  internal: { code: 1, meaning: 'the platform or the command failed in a way it did not foresee' },
  usage: { code: 2, meaning: 'the command line cannot be understood' },
  refused: { code: 3, meaning: 'what was given is not valid' },
  denied: { code: 4, meaning: 'no valid token, or not this right' },
  missing: { code: 5, meaning: 'what was named does not exist' },
  conflict: { code: 6, meaning: 'it exists already, is in use, or was changed meanwhile' },
  unavailable: { code: 7, meaning: 'the platform does not run, or is too busy' },
  dependency: { code: 8, meaning: 'a registry, an engine or another system failed' },
  function: { code: 9, meaning: 'the function was called and failed' },
  interrupted: { code: 130, meaning: 'ended by Ctrl-C' },
} as const satisfies Record<ExitKind | 'ok' | 'interrupted', { code: number; meaning: string }>

/** The exit code for what a command threw. */
export function exitCodeOf(thrown: unknown): number {
  return EXIT_CODES[errorEntry(toAppError(thrown).code).exit].code
}
