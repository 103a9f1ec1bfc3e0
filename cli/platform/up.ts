import { join } from 'node:path'
import {
  AppError,
  codeArguments,
  codeEnvironment,
  type DataPaths,
  isAlive,
  stripCode,
  takeRunLock,
} from '../../common/index.ts'
import {
  compileCode,
  type HostConfig,
  makeDataDirectory,
  readStateFile,
  writeParentFile,
} from '../../runtime-shim/host/index.ts'
import { EXIT_CODES } from '../exit-codes.ts'
import { CODE_DIRECTORY } from './code-directory.ts'
import { type EngineName, prepareMachine } from './doctor.ts'
import { type ParentTask, runsAlready } from './parent-task.ts'
import { Steps } from './steps.ts'

const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const

export interface UpOptions {
  dataDirectory: string
  address: string
  port: number
  registryPort: number
  engine: EngineName
  ociRuntime: HostConfig['ociRuntime']
  identity: HostConfig['identity']
  waitingSandboxes: number
  /** Absolute. */
  dockerConfig?: string
  /** Whether failures are told as JSON. */
  json: boolean
  /** Runs before anything is started. */
  beforeStart?: (steps: Steps, paths: DataPaths) => Promise<void>
  /** What happens once the platform answers. */
  afterReady: ParentTask['afterReady']
}

/**
 * `slipway up`: prepares the machine, then becomes the parent, which starts the platform and stays until Ctrl-C or `slipway down`: the same
 * process with another program (execve), since what preparing took in memory would stay for as long as the platform. Never returns.
 */
export async function up(options: UpOptions): Promise<never> {
  const { dataDirectory, engine, json, beforeStart, afterReady, ...rest } = options
  for (const signal of SIGNALS) process.on(signal, () => process.exit(EXIT_CODES.interrupted.code))
  const steps = new Steps()
  await steps.run('machine', (say) => prepareMachine(dataDirectory, engine, say))
  const paths = makeDataDirectory(dataDirectory)
  claim(paths, options)
  stripCode(CODE_DIRECTORY, paths.code)
  compileCode({ codeDirectory: CODE_DIRECTORY, stripped: paths.code, compiled: paths.compiled })
  await beforeStart?.(steps, paths)
  const host = { ...rest, engine, dataDirectory: paths.root, codeDirectory: CODE_DIRECTORY, parentPid: process.pid }
  const task: ParentTask = { host, afterReady, json }
  await heardSignals()
  return becomeParent(task, paths)
}

/**
 * A signal that came while nothing else went on would be forgotten by execve: it is heard now, and from here to the parent's own listeners it
 * ends the process by itself.
 */
async function heardSignals(): Promise<void> {
  await new Promise((resolve) => setImmediate(resolve))
  for (const signal of SIGNALS) process.removeAllListeners(signal)
}

/** A pid and its start time outlive execve: the parent file stays true. The lock does not; the parent takes it again. */
function becomeParent(task: ParentTask, paths: DataPaths): never {
  const program = join(CODE_DIRECTORY, 'cli/platform/parent-main.ts')
  const args = [process.execPath, '--max-semi-space-size=1', ...codeArguments(CODE_DIRECTORY), program]
  const env = { ...process.env, ...codeEnvironment(paths.code), SLIPWAY_PARENT: JSON.stringify(task) }
  return process.execve?.(process.execPath, args, env) as never
}

/** One parent for a data directory; it may go on with the supervisor that an earlier one left, as that one was started. */
function claim(paths: DataPaths, options: UpOptions): void {
  if (!takeRunLock(paths.parentLock)) throw runsAlready(paths.root)
  const state = readStateFile(paths)
  const same = (['address', 'port', 'registryPort', 'engine'] as const).every((key) => state?.[key] === options[key])
  if (state !== undefined && isAlive(state.supervisor) && !same) {
    const { address, port, registryPort, engine } = state
    throw new AppError(
      `Slipway runs already on ${paths.root}, at ${address}:${port}, registry port ${registryPort}, engine ${engine}`,
      {
        code: 'already-running',
        fault: 'user',
        hint: 'it has lost its parent: go on with it by the same options, or end it with "slipway down" first',
      },
    )
  }
  writeParentFile(paths)
}
