import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { AppError, type DataPaths, takeAbstractLock } from '../../common/index.ts'
import { type HostConfig, makeDataDirectory, Parent } from '../../runtime-shim/host/index.ts'
import { type EngineName, prepareMachine } from './doctor.ts'
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

export const CODE_DIRECTORY = join(dirname(fileURLToPath(import.meta.url)), '../..')
const STOP_GRACE_MS = 15_000
/** Signals this close together are one: a terminal's Ctrl-C reaches this process and the one that started it. */
const SAME_SIGNAL_MS = 500

/** `slipway up`: prepares the machine, starts the platform, stays until Ctrl-C or `slipway down`. Answers the exit code. */
export async function up(options: UpOptions): Promise<number> {
  const { dataDirectory, engine } = options
  const steps = new Steps()
  await steps.run('machine', (say) => prepareMachine(dataDirectory, engine, say))
  const paths = makeDataDirectory(dataDirectory)
  if (!takeAbstractLock(`slipway-${paths.hash}-parent`)) {
    throw new AppError(`Slipway runs already on ${paths.root}`, {
      code: 'already-running',
      fault: 'user',
      hint: 'look with "slipway status", end it with "slipway down", or choose another SLIPWAY_DATA',
    })
  }
  await options.beforeStart?.(steps, paths)
  const { afterReady: _after, beforeStart: _before, dataDirectory: _directory, ...rest } = options
  const config: HostConfig = {
    ...rest,
    dataDirectory: paths.root,
    codeDirectory: CODE_DIRECTORY,
    parentPid: process.pid,
  }
  const parent = new Parent(config, paths)
  const ended = endOnSignal(parent, steps)
  await steps.run('supervisor, server and registry', () => parent.start())
  steps.line(`API, gateway   http://${options.address}:${options.port}`)
  steps.line(`registry       http://127.0.0.1:${options.registryPort}`)
  void options.afterReady(steps, paths).catch((thrown: unknown) => {
    steps.line(thrown instanceof Error ? thrown.message : String(thrown))
  })
  await ended
  return 0
}

function endOnSignal(parent: Parent, steps: Steps): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>()
  let firstAtMs = 0
  const end = (): void => {
    if (firstAtMs !== 0) {
      if (Date.now() - firstAtMs > SAME_SIGNAL_MS) process.exit(1)
      return
    }
    firstAtMs = Date.now()
    if (process.env['SLIPWAY_KEEP_INSTANCES'] === '1') {
      parent.leave()
      resolve()
      return
    }
    steps.run('stopping', () => parent.close(STOP_GRACE_MS)).then(resolve, resolve)
  }
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, end)
  return promise
}
