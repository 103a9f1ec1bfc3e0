import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readFileSync, renameSync } from 'node:fs'
import { join } from 'node:path'
import { execa } from 'execa'
import { CACHE } from './cache.ts'
import { PROJECT } from './platform.ts'
import { findProgram } from './programs.ts'

const SOURCE = join(PROJECT, 'test/fixtures/registry-three')
const BUILD_MS = 15 * 60_000

/**
 * The program of registry 3, which no Debian release has yet: built from its Go module once (two minutes) and kept. Undefined, and said so loudly,
 * where there is no Go, or where the module cannot be had; with Go in CI the latter is a failure.
 */
export async function registryThree(): Promise<string | undefined> {
  const program = join(CACHE, `registry-three-${hashOfSource()}`)
  if (existsSync(program)) return program
  if (findProgram('go') === undefined) {
    console.warn('tests skipped: registry 3 is not here, and there is no Go to build it')
    return undefined
  }
  mkdirSync(CACHE, { recursive: true })
  const unfinished = `${program}.${process.pid}`
  const args = ['build', '-trimpath', '-ldflags=-s -w', '-o', unfinished, '.']
  const built = await execa('go', args, { cwd: SOURCE, reject: false, timeout: BUILD_MS, env: { CGO_ENABLED: '0' } })
  if (built.exitCode === 0) {
    renameSync(unfinished, program)
    return program
  }
  const message = `tests skipped: registry 3 cannot be built: ${built.stderr.slice(-2_000)}`
  if (process.env['CI'] !== undefined) throw new Error(message)
  console.warn(message)
  return undefined
}

function hashOfSource(): string {
  const hash = createHash('sha256')
  for (const name of ['go.mod', 'main.go']) hash.update(readFileSync(join(SOURCE, name)))
  return hash.digest('hex').slice(0, 12)
}
