import { accessSync, constants } from 'node:fs'
import { delimiter, join } from 'node:path'

/** The first place in PATH (and the system directories) where `name` is an executable, or undefined. */
export function findProgram(name: string): string | undefined {
  const directories = [...(process.env['PATH'] ?? '').split(delimiter), '/usr/sbin', '/sbin']
  return directories.map((directory) => join(directory, name)).find(isExecutable)
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK)
    return true
  } catch {
    return false
  }
}

/**
 * Whether tests that need these programs can run here: `describe.skipIf(!requireProgram('runc', 'conmon'))`.
 * Absent ones are named loudly; in CI they fail the run.
 */
export function requireProgram(...names: readonly string[]): boolean {
  const missing = missingOf(names)
  if (missing.length === 0) return true
  const message = `tests skipped: ${missing.join(', ')} not installed`
  if (process.env['CI'] !== undefined) throw new Error(message)
  console.warn(message)
  return false
}

/** The same without a word: for what is only quicker where they are. */
export function hasPrograms(...names: readonly string[]): boolean {
  return missingOf(names).length === 0
}

function missingOf(names: readonly string[]): string[] {
  return names.filter((name) => findProgram(name) === undefined)
}
