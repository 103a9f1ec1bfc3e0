import { spawnSync } from 'node:child_process'
import { join } from 'node:path'
import { AppError } from './errors.ts'

const STRIP_TIMEOUT_MS = 120_000

/**
 * Makes the JavaScript of all sources in `cacheDirectory`, once for each content: 0.1 s when all of it is there. Nothing else goes on meanwhile,
 * so that an interrupted `slipway up` leaves no such process behind.
 */
export function stripCode(codeDirectory: string, cacheDirectory: string): void {
  // What strips is new in Node and says so on stderr; the terminal of `slipway up` is not the place.
  const args = ['--disable-warning=ExperimentalWarning', join(codeDirectory, 'common/strip-code.mjs')]
  const { status, error, stderr } = spawnSync(process.execPath, [...args, codeDirectory, cacheDirectory], {
    timeout: STRIP_TIMEOUT_MS,
    stdio: ['ignore', 'ignore', 'pipe'],
    encoding: 'utf8',
  })
  if (status === 0) return
  const said = error?.message ?? stderr.trim().slice(-2_000)
  throw new AppError(`the sources could not be prepared in ${cacheDirectory}: ${said}`, { code: 'command-failed' })
}

/** Arguments of Node, before the program, of a lasting process that finds the project's code in `codeDirectory`. */
export function codeArguments(codeDirectory: string): string[] {
  return [`--import=file://${join(codeDirectory, 'common/load-stripped.mjs')}`]
}

/** What belongs to `codeArguments` in the environment. */
export function codeEnvironment(cacheDirectory: string): Record<string, string> {
  return { SLIPWAY_CODE_CACHE: cacheDirectory }
}
