import { randomBytes } from 'node:crypto'
import { join } from 'node:path'
import { type DataPaths, dockerSocketPath, type Logger } from '../../common/index.ts'
import type { Engine } from '../engines/engine.ts'
import type { HostConfig } from './host-config.ts'

export interface OpenedEngine {
  engine: Engine
  /** Names the next instance; the runc engine hands out names whose sandbox waits. */
  newInstanceId: () => string
  /** Begins what the engine prepares ahead; called after recovery, which takes what it finds half made for a crash's traces. */
  prepareAhead: () => void
  /** The content worker, while there is one. */
  workerPid: () => number | undefined
  close: () => Promise<void>
}

/** The engine that was asked for. Each is imported only when it is used: dockerode alone takes 55 to 155 ms. */
export async function openEngine(config: HostConfig, paths: DataPaths, logger: Logger): Promise<OpenedEngine> {
  switch (config.engine) {
    case 'docker':
      return openDocker(paths, logger)
    case 'runc':
      return openRunc(config, paths, logger)
  }
}

async function openDocker(paths: DataPaths, logger: Logger): Promise<OpenedEngine> {
  const { openDockerEngine } = await import('../engines/docker.ts')
  const engine = await openDockerEngine({
    hash: paths.hash,
    workDirectory: join(paths.cache, 'docker'),
    log: logger,
    socketPath: dockerSocketPath(process.env),
  })
  return {
    engine,
    newInstanceId: () => randomBytes(8).toString('hex'),
    prepareAhead: () => undefined,
    workerPid: () => undefined,
    close: () => engine.close(),
  }
}

async function openRunc(config: HostConfig, paths: DataPaths, log: Logger): Promise<OpenedEngine> {
  const [{ openRuncEngine }, { openContentStore }, { chooseRuntime }] = await Promise.all([
    import('../engines/runc.ts'),
    import('../../content/index.ts'),
    import('../../sandbox/index.ts'),
  ])
  const work = join(paths.cache, 'runc')
  const { runtime, reason } = await chooseRuntime(config.ociRuntime, paths.hash, paths.cache)
  log.info({ runtime: runtime.name, reason }, 'OCI runtime chosen')
  const content = await openContentStore(paths.content, { logger: log })
  const engine = openRuncEngine({
    hash: paths.hash,
    instancesDirectory: paths.instances,
    workDirectory: work,
    runtime,
    content,
    log,
    waitingSandboxes: config.waitingSandboxes,
  })
  return {
    engine,
    newInstanceId: () => engine.reserveId(),
    prepareAhead: () => void engine.sandboxesReady(),
    workerPid: () => content.workerPid(),
    close: async () => {
      await engine.close()
      await content.close()
    },
  }
}
