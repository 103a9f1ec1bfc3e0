import { existsSync } from 'node:fs'
import { AppError, messageOf, retry, run } from '../../common/index.ts'
import { SYSTEM_PACKAGES, type SystemPackage } from './packages.ts'

export type Need = SystemPackage['neededFor']

/** Packages that are not on this machine; `forEngine` leaves out what only the other one needs. */
export function missingPackages(needs: readonly Need[], forEngine: 'runc' | 'docker' = 'runc'): SystemPackage[] {
  return SYSTEM_PACKAGES.filter(
    ({ neededFor, engine = forEngine, file }) => needs.includes(neededFor) && engine === forEngine && !existsSync(file),
  )
}

const APT = ['-o', 'DPkg::Lock::Timeout=300', '-y', '--no-install-recommends']
const ENVIRONMENT = { DEBIAN_FRONTEND: 'noninteractive' }
const MINUTES = 60_000

/**
 * Installs packages with apt. Another apt at the same time may delete the files that this one has just fetched
 * (a clean-up hook of container images does): `-f install` again mends that.
 */
export async function installPackages(packages: readonly SystemPackage[], say: (line: string) => void): Promise<void> {
  const names = packages.map(({ name }) => name)
  try {
    say(`installing ${names.join(', ')}`)
    await retry(
      async (attempt) => {
        if (attempt > 1) say('trying again')
        if (attempt > 1 || !(await listsArePresent(names)))
          await run('apt-get', ['update'], { timeoutMs: 5 * MINUTES, env: ENVIRONMENT })
        await run('apt-get', ['install', '-f', ...APT, ...names], { timeoutMs: 15 * MINUTES, env: ENVIRONMENT })
      },
      { attempts: 3, baseMs: 2_000, retryable: () => true },
    )
  } catch (thrown) {
    throw new AppError(`Debian packages could not be installed (${names.join(', ')}): ${messageOf(thrown)}`, {
      code: 'packages-missing',
      fault: 'dependency',
      hint: `run: apt-get update && apt-get install ${names.join(' ')}`,
      cause: thrown,
    })
  }
}

async function listsArePresent(names: readonly string[]): Promise<boolean> {
  try {
    const { stdout } = await run('apt-cache', ['policy', ...names])
    return (stdout.match(/Candidate: (?!\(none\))/g) ?? []).length === names.length
  } catch {
    return false
  }
}
