import { type ChildProcess, type StdioOptions, spawn } from 'node:child_process'
import { closeSync } from 'node:fs'
import { join } from 'node:path'
import { AppError, type DataPaths } from '../../common/index.ts'
import { confinedCommand, REGISTRY_UID } from './confine.ts'
import { openLog } from './log-file.ts'
import { platformMark } from './strays.ts'

/** Starts a program as the registry's user, which sees the registry's files and nothing else of the platform. */
export function asRegistryUser(
  paths: DataPaths,
  command: string[],
  options: { stdio: StdioOptions; detached: boolean },
): ChildProcess {
  const [plain = '', ...plainArgs] = command
  const { file, args } =
    process.getuid?.() === 0
      ? confinedCommand([paths.root], {
          uid: REGISTRY_UID,
          binds: [{ source: paths.registry, name: 'registry', writable: true }],
          hide: [paths.root],
          command,
        })
      : { file: plain, args: plainArgs }
  const env = { PATH: '/usr/sbin:/usr/bin:/sbin:/bin', OTEL_TRACES_EXPORTER: 'none', ...platformMark(paths.hash) }
  return spawn(file, args, { ...options, env, cwd: '/' })
}

/**
 * One run of a program beside the registry. It dies with the supervisor: a collection that outlived it would remove blobs that are pushed
 * after the next supervisor has made the registry writable.
 */
export class RegistryTask {
  readonly #child: ChildProcess
  /** Resolves when it ended well. Throws `registry-collection-failed`. */
  readonly done: Promise<void>

  constructor(paths: DataPaths, command: string[], stdout: number | 'ignore' = 'ignore') {
    const logFd = openLog(join(paths.log, 'registry.log'))
    const bound = ['setpriv', '--pdeathsig', 'KILL', ...command]
    try {
      this.#child = asRegistryUser(paths, bound, { stdio: ['ignore', stdout, logFd], detached: false })
    } finally {
      closeSync(logFd)
    }
    this.done = new Promise((resolve, reject) => {
      this.#child.once('error', (cause) => reject(failed(command[0] ?? '', cause.message, cause)))
      this.#child.once('exit', (code, signal) => {
        if (code === 0) resolve()
        else reject(failed(command[0] ?? '', `it ended with ${signal ?? code}`))
      })
    })
    this.done.catch(() => undefined)
  }

  kill(): void {
    this.#child.kill('SIGKILL')
  }
}

function failed(program: string, why: string, cause?: unknown): AppError {
  return new AppError(`${program} failed beside the local registry: ${why}`, {
    code: 'registry-collection-failed',
    hint: 'see registry.log in the log directory of the platform; nothing that is in use was removed',
    cause,
  })
}
