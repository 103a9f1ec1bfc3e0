import { writeSync } from 'node:fs'
import { createLogger, forbidCoreFiles, identify, takeRunLock, toAppError } from '../../common/index.ts'
import { makeDataDirectory } from './data-directory.ts'
import { EXIT_NOT_ALONE, EXIT_UNUSABLE, parseHostConfig, READINESS_FD, type Readiness } from './host-config.ts'
import { type OpenedEngine, openEngine } from './open-engine.ts'
import { LocalRegistryProcess } from './registry-process.ts'
import { Supervisor } from './supervisor.ts'

// The supervisor process: wiring only.

forbidCoreFiles()
const config = parseHostConfig(process.env['SLIPWAY_HOST_CONFIG'])
const logger = createLogger('supervisor')
const GRACE_MS = 3_000

function tell(readiness: Readiness): void {
  try {
    writeSync(READINESS_FD, `${JSON.stringify(readiness)}\n`)
  } catch {
    // The parent that asked is gone; the next one looks at the state file.
  }
}

function unusable(thrown: unknown): void {
  const error = toAppError(thrown)
  const hint = error.hint === undefined ? {} : { hint: error.hint }
  tell({ ready: false, message: error.message, code: error.code, ...hint })
}

let opened: OpenedEngine | undefined
let started: Supervisor | undefined
let asked = false

function shutDown(supervisor: Supervisor): void {
  supervisor.shutDown(GRACE_MS).then(
    () => process.exit(0),
    (thrown: unknown) => {
      logger.error({ err: thrown }, 'shutdown failed')
      process.exit(1)
    },
  )
}

/** Asked while it starts, it ends when the start is over: what is half made or half taken over could not be ended whole. */
function end(): void {
  if (asked && started !== undefined) process.exit(1)
  asked = true
  if (started !== undefined) shutDown(started)
}

process.on('SIGTERM', end)
process.on('SIGINT', end)
process.on('SIGHUP', () => undefined)

try {
  const paths = makeDataDirectory(config.dataDirectory)
  if (!takeRunLock(paths.supervisorLock)) {
    logger.warn('another supervisor runs')
    process.exit(EXIT_NOT_ALONE)
  }
  opened = await openEngine(config, paths, logger)
  const supervisor = new Supervisor({
    ...config,
    paths,
    parent: identify(config.parentPid) ?? null,
    opened,
    makeRegistry: (onStarted) =>
      new LocalRegistryProcess({ paths, port: config.registryPort, gatewayPort: config.port, logger, onStarted }),
    logger,
    onReady: () => tell({ ready: true }),
    onUnusable: (why) => {
      unusable(why)
      void supervisor.shutDown(0).finally(() => process.exit(EXIT_UNUSABLE))
    },
  })
  await supervisor.start()
  started = supervisor
  if (asked) shutDown(supervisor)
  else {
    opened.prepareAhead()
    logger.info({ engine: config.engine, port: config.port }, 'supervisor started')
  }
} catch (thrown) {
  logger.fatal({ err: thrown }, 'supervisor cannot start')
  await opened?.close().catch(() => undefined)
  unusable(thrown)
  process.exit(EXIT_UNUSABLE)
}
