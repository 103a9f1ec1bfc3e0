import { type ChildProcess, spawn } from 'node:child_process'
import { mkdirSync } from 'node:fs'
import { join, relative } from 'node:path'
import { codeArguments, codeEnvironment, type DataPaths } from '../../common/index.ts'
import { compiledEnvironment } from './compile-cache.ts'
import { confinedCommand, SERVER_UID, viewPath } from './confine.ts'
import { GATEWAY_FD } from './port.ts'
import { platformMark } from './strays.ts'

export interface ServerSpawn {
  paths: DataPaths
  /** Root of the project's code; bound read-only for the server, so that a clone under a closed home works. */
  codeDirectory: string
  listener: number
  generation: number
  logFd: number
  env: Record<string, string>
}

/** Where the server finds `server/` and `run/`: its view, or (without root) the data directory itself. */
export function serverView(paths: DataPaths, codeDirectory: string): string {
  return process.getuid?.() === 0 ? viewPath([paths.root, codeDirectory], '') : paths.root
}

/** Calls in flight survive a collection of the young generation and are copied by it: the smaller it is, the more often. */
const HEAP = ['--max-semi-space-size=16']

/** Arguments of Node, for a server that finds the project's code in `code`. */
function nodeArguments(code: string): string[] {
  return [...HEAP, ...codeArguments(code), join(code, 'control-plane/main.ts')]
}

/** Starts the server: with root as a user of its own without any power, else as the same user. */
export function spawnServer(options: ServerSpawn): ChildProcess {
  const { paths, codeDirectory, listener, generation, logFd } = options
  const isRoot = process.getuid?.() === 0
  const view = serverView(paths, codeDirectory)
  const env = {
    PATH: '/usr/sbin:/usr/bin:/sbin:/bin',
    ...platformMark(paths.hash),
    SLIPWAY_VIEW: view,
    SLIPWAY_GENERATION: String(generation),
    ...codeEnvironment(isRoot ? join(view, 'stripped') : paths.code),
    ...compiledEnvironment(isRoot ? join(view, 'compiled') : paths.compiled),
    ...options.env,
  }
  const stdio: ('ignore' | number)[] = ['ignore', logFd, logFd]
  stdio[GATEWAY_FD] = listener
  const common = { stdio, env, detached: true }
  if (!isRoot) {
    return spawn(process.execPath, nodeArguments(codeDirectory), { ...common, cwd: codeDirectory })
  }
  for (const cache of [paths.code, paths.compiled]) mkdirSync(cache, { recursive: true }) // a cache is a thing that people remove
  const code = join(view, 'code')
  const { file, args } = confinedCommand([paths.root, codeDirectory], {
    uid: SERVER_UID,
    binds: [
      { source: codeDirectory, name: 'code', writable: false },
      { source: paths.server, name: 'server', writable: true },
      { source: paths.run, name: 'run', writable: true },
      { source: paths.code, name: 'stripped', writable: false },
      { source: paths.compiled, name: 'compiled', writable: false },
    ],
    hide: [paths.root],
    command: [join(code, relative(codeDirectory, process.execPath)), ...nodeArguments(code)],
  })
  return spawn(file, args, common)
}
