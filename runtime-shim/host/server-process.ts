import { type ChildProcess, spawn } from 'node:child_process'
import { join, relative } from 'node:path'
import type { DataPaths } from '../../common/index.ts'
import { confinedCommand, SERVER_UID, viewPath } from './confine.ts'
import { GATEWAY_FD } from './port.ts'

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
const NODE_ARGS = ['--max-semi-space-size=16', 'control-plane/main.ts']

/** Starts the server: with root as a user of its own without any power, else as the same user. */
export function spawnServer(options: ServerSpawn): ChildProcess {
  const { paths, codeDirectory, listener, generation, logFd } = options
  const view = serverView(paths, codeDirectory)
  const env = {
    PATH: '/usr/sbin:/usr/bin:/sbin:/bin',
    SLIPWAY_VIEW: view,
    SLIPWAY_GENERATION: String(generation),
    // Compiled code of an earlier server: without it, each would carry the compiler that strips types (23 MB) and start later.
    NODE_COMPILE_CACHE: join(view, 'server', 'compiled'),
    ...options.env,
  }
  const stdio: ('ignore' | number)[] = ['ignore', logFd, logFd]
  stdio[GATEWAY_FD] = listener
  const common = { stdio, env, detached: true }
  if (process.getuid?.() !== 0) return spawn(process.execPath, NODE_ARGS, { ...common, cwd: codeDirectory })
  const [nodeFlag = '', main = ''] = NODE_ARGS
  const code = join(view, 'code')
  const { file, args } = confinedCommand([paths.root, codeDirectory], {
    uid: SERVER_UID,
    binds: [
      { source: codeDirectory, name: 'code', writable: false },
      { source: paths.server, name: 'server', writable: true },
      { source: paths.run, name: 'run', writable: true },
    ],
    hide: [paths.root],
    command: [join(code, relative(codeDirectory, process.execPath)), nodeFlag, join(code, main)],
  })
  return spawn(file, args, common)
}
