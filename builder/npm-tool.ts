import { chmodSync, existsSync, mkdirSync, mkdtempSync, readdirSync, renameSync, rmSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { AppError, messageOf, removeStale, run } from '../common/index.ts'
import { normalMode } from '../oci/index.ts'
import { lentVariables } from './npm-settings.ts'

/** The npm that installs dependencies, whatever the machine has: another one may lay out node_modules in another way. */
export const NPM_VERSION = '11.21.2'

/**
 * The directory of npm NPM_VERSION, fetched once with the machine's own npm (which checks its integrity) and kept in `cacheDirectory`.
 * It is shown to the dependency step and is in no image. Throws `npm-unavailable`.
 */
export async function npmDirectory(cacheDirectory: string, signal: AbortSignal): Promise<string> {
  const home = join(cacheDirectory, `npm-${NPM_VERSION}`)
  const npm = join(home, 'node_modules/npm')
  if (existsSync(npm)) return npm
  mkdirSync(cacheDirectory, { recursive: true, mode: 0o700 })
  removeStale(cacheDirectory, /^npm-[\d.]+-/)
  const making = mkdtempSync(`${home}-`)
  try {
    const options = ['--ignore-scripts', '--no-audit', '--no-fund', '--no-package-lock', '--no-save', '--global=false']
    await run('npm', ['install', ...options, '--prefix', making, `npm@${NPM_VERSION}`], {
      env: lentVariables(process.env),
      cwd: making,
      timeoutMs: 120_000,
      signal,
    })
    makeReadable(making)
    renameSync(making, home)
  } catch (cause) {
    signal.throwIfAborted()
    if (!existsSync(npm)) {
      throw new AppError(`npm ${NPM_VERSION} cannot be fetched: ${messageOf(cause)}`, {
        code: 'npm-unavailable',
        fault: 'dependency',
        retryable: true,
        hint: 'check that this machine reaches its npm registry: npm ping',
        cause,
      })
    }
  } finally {
    rmSync(making, { recursive: true, force: true })
  }
  return npm
}

/** Whatever the umask of this process: the step runs as another user. */
function makeReadable(directory: string): void {
  chmodSync(directory, 0o755)
  for (const entry of readdirSync(directory, { withFileTypes: true })) {
    const path = join(directory, entry.name)
    if (entry.isDirectory()) makeReadable(path)
    else if (entry.isFile()) chmodSync(path, normalMode(statSync(path).mode, 'file'))
  }
}
