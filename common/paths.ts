import { createHash } from 'node:crypto'
import { realpathSync } from 'node:fs'
import { join } from 'node:path'

/** Every file name below the data directory, in one place. */
export interface DataPaths {
  root: string
  /** Eight hex digits of the data directory's real path: part of every name outside it, so that two platforms never meet. */
  hash: string
  adminToken: string
  run: string
  hostSocket: string
  hostFdSocket: string
  parentFile: string
  supervisorFile: string
  /** Locks: one parent, one supervisor for each data directory. */
  parentLock: string
  supervisorLock: string
  instances: string
  /** Layers and blobs (root only). */
  content: string
  /** All that the server may write (its own user): database, output segments, signing keys. */
  server: string
  database: string
  output: string
  registry: string
  cache: string
  /** Our own sources without their types: read by every lasting process, written by who starts the platform. */
  code: string
  /** What V8 made of the server's modules: read by the server, written by who starts the platform. */
  compiled: string
  log: string
}

/** The layout of the data directory `root`, which must exist. */
export function dataPaths(root: string): DataPaths {
  const real = realpathSync(root)
  const run = join(real, 'run')
  const server = join(real, 'server')
  return {
    root: real,
    hash: createHash('sha256').update(real).digest('hex').slice(0, 8),
    adminToken: join(real, 'admin-token'),
    run,
    hostSocket: join(run, 'host.sock'),
    hostFdSocket: join(run, 'host-fd.sock'),
    parentFile: join(run, 'parent.json'),
    supervisorFile: join(run, 'supervisor.json'),
    parentLock: join(run, 'parent.lock'),
    supervisorLock: join(run, 'supervisor.lock'),
    instances: join(run, 'instances'),
    content: join(real, 'content'),
    server,
    database: join(server, 'slipway.db'),
    output: join(server, 'output'),
    registry: join(real, 'registry'),
    cache: join(real, 'cache'),
    code: join(real, 'cache', 'code'),
    compiled: join(real, 'cache', 'compiled'),
    log: join(real, 'log'),
  }
}

/** The socket of the Docker Engine that the environment asks for. */
export function dockerSocketPath(env: NodeJS.ProcessEnv): string {
  return env['DOCKER_HOST']?.replace(/^unix:\/\//, '') ?? '/var/run/docker.sock'
}

/** The data directory that the environment asks for: `$SLIPWAY_DATA`, else the place of the user. */
export function defaultDataDirectory(env: NodeJS.ProcessEnv, uid: number, home: string): string {
  const named = env['SLIPWAY_DATA']
  if (named !== undefined && named !== '') return named
  if (uid === 0) return '/var/lib/slipway'
  const xdg = env['XDG_DATA_HOME']
  return join(xdg !== undefined && xdg !== '' ? xdg : join(home, '.local', 'share'), 'slipway')
}
