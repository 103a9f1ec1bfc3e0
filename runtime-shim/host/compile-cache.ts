import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { chmodSync, chownSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join, relative } from 'node:path'
import { codeArguments, codeEnvironment } from '../../common/index.ts'
import { confinedCommand, SERVER_UID, viewPath } from './confine.ts'

const COMPILE_TIMEOUT_MS = 60_000
const STAMP = 'made-from'

export interface CompilePlaces {
  codeDirectory: string
  /** What `stripCode` made. */
  stripped: string
  /** Where the compiled code is to lie. */
  compiled: string
}

/**
 * Leaves in `compiled` what V8 makes of the server's modules, so that a server that takes the place of a killed one is there sooner: 0.3 s instead
 * of 0.5 to load them (docs/adr/0012). Made under the server's user and at the paths where the server finds its code, since both are part of the cache's
 * keys; owned by root afterwards, since who can write to it chooses what later servers run. Done once for each state of sources and packages.
 * Not fatal: without it a server compiles for itself.
 */
export function compileCode(places: CompilePlaces): void {
  const { codeDirectory, stripped, compiled } = places
  const stamp = stampOf(codeDirectory, stripped)
  const stampFile = join(compiled, STAMP)
  if (existsSync(stampFile) && readFileSync(stampFile, 'utf8') === stamp) return
  rmSync(compiled, { recursive: true, force: true })
  mkdirSync(compiled, { recursive: true, mode: 0o755 })
  const isRoot = process.getuid?.() === 0
  if (isRoot) chownSync(compiled, SERVER_UID, SERVER_UID)
  const { file, args, env } = isRoot ? confined(places) : plain(codeDirectory, stripped, compiled)
  const { status } = spawnSync(file, args, { env, stdio: 'ignore', timeout: COMPILE_TIMEOUT_MS })
  if (isRoot) giveToRoot(compiled)
  if (status === 0) writeFileSync(stampFile, stamp, { mode: 0o644 })
}

/** Changes with every source, every package and every version of Node. */
function stampOf(codeDirectory: string, stripped: string): string {
  const packages = readFileSync(join(codeDirectory, 'package-lock.json'))
  const hash = createHash('sha256').update(process.version).update(packages)
  for (const name of readdirSync(stripped).sort()) hash.update(name)
  return hash.digest('hex')
}

interface Command {
  file: string
  args: string[]
  env: Record<string, string>
}

function plain(code: string, stripped: string, compiled: string): Command {
  const args = [...codeArguments(code), join(code, 'control-plane/compile.ts')]
  const env = { ...codeEnvironment(stripped), ...compiledEnvironment(compiled) }
  return { file: process.execPath, args, env }
}

function confined({ codeDirectory, stripped, compiled }: CompilePlaces): Command {
  const paths = [codeDirectory, stripped, compiled]
  const view = viewPath(paths, '')
  const code = join(view, 'code')
  const node = join(code, relative(codeDirectory, process.execPath))
  const { args: program, env } = plain(code, join(view, 'stripped'), join(view, 'compiled'))
  const command = confinedCommand(paths, {
    uid: SERVER_UID,
    binds: [
      { source: codeDirectory, name: 'code', writable: false },
      { source: stripped, name: 'stripped', writable: false },
      { source: compiled, name: 'compiled', writable: true },
    ],
    hide: [],
    command: [node, ...program],
  })
  return { ...command, env: { ...env, PATH: '/usr/sbin:/usr/bin:/sbin:/bin' } }
}

function giveToRoot(directory: string): void {
  for (const entry of readdirSync(directory, { withFileTypes: true })) {
    const path = join(directory, entry.name)
    if (entry.isDirectory()) giveToRoot(path)
    else if (!entry.isFile()) rmSync(path, { force: true })
    else {
      chownSync(path, 0, 0)
      chmodSync(path, 0o644)
    }
  }
  chownSync(directory, 0, 0)
  chmodSync(directory, 0o755)
}

/** For a process that is to load what `compileCode` left. */
export function compiledEnvironment(compiled: string): Record<string, string> {
  return { NODE_COMPILE_CACHE: compiled }
}
