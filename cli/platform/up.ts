import { AppError, type DataPaths, isAlive, takeRunLock } from '../../common/index.ts'
import {
  type HostConfig,
  makeDataDirectory,
  Parent,
  readStateFile,
  writeParentFile,
} from '../../runtime-shim/host/index.ts'
import { CODE_DIRECTORY } from './code-directory.ts'
import { type EngineName, prepareMachine } from './doctor.ts'
import { EndRequest } from './end-request.ts'
import { Steps } from './steps.ts'

export interface UpOptions {
  dataDirectory: string
  address: string
  port: number
  registryPort: number
  engine: EngineName
  ociRuntime: HostConfig['ociRuntime']
  identity: HostConfig['identity']
  waitingSandboxes: number
  /** Runs before anything is started. */
  beforeStart?: (steps: Steps, paths: DataPaths) => Promise<void>
  /** Runs once the platform answers; its failure is told and changes nothing of the platform. */
  afterReady: (steps: Steps, paths: DataPaths) => Promise<void>
}

/** `slipway up`: prepares the machine, starts the platform, stays until Ctrl-C or `slipway down`. Answers the exit code. */
export async function up(options: UpOptions): Promise<number> {
  const { dataDirectory, engine } = options
  const steps = new Steps()
  const endRequest = new EndRequest(steps)
  await steps.run('machine', (say) => prepareMachine(dataDirectory, engine, say))
  const paths = makeDataDirectory(dataDirectory)
  claim(paths, options)
  await options.beforeStart?.(steps, paths)
  const { afterReady: _after, beforeStart: _before, dataDirectory: _directory, ...rest } = options
  const config: HostConfig = {
    ...rest,
    dataDirectory: paths.root,
    codeDirectory: CODE_DIRECTORY,
    parentPid: process.pid,
  }
  const parent = new Parent(config, paths)
  const ended = endRequest.ends(parent)
  const started = await steps.run('supervisor, server and registry', () => Promise.race([parent.start(), ended]))
  if (started === true) {
    steps.line(`API, gateway   http://${options.address}:${options.port}`)
    steps.line(`registry       http://127.0.0.1:${options.registryPort}`)
    void options.afterReady(steps, paths).catch((thrown: unknown) => {
      steps.line(thrown instanceof Error ? thrown.message : String(thrown))
    })
  }
  await ended
  return 0
}

/** One parent for a data directory; it may go on with the supervisor that an earlier one left, as that one was started. */
function claim(paths: DataPaths, options: UpOptions): void {
  if (!takeRunLock(paths.parentLock)) {
    throw new AppError(`Slipway runs already on ${paths.root}`, {
      code: 'already-running',
      fault: 'user',
      hint: 'look with "slipway status", end it with "slipway down", or choose another SLIPWAY_DATA',
    })
  }
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
