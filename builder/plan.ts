import type { ConfigChanges, Digest } from '../oci/index.ts'
import type { Detected, Start } from './detect.ts'

/** Everything that is decided before anything is made. A function of its arguments alone. */
export interface BuildPlan {
  runtime: string
  baseDigest: Digest
  type: Detected['type']
  /** `none`; `locked`: as the lock file says; `resolve`: there is none, the newest allowed versions are taken. */
  dependencies: 'none' | 'locked' | 'resolve'
  lockFile: string
  changes: ConfigChanges
  /** The plan in words, one line each. */
  lines: string[]
}

const PATH = '/var/user/node_modules/.bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'

/** `adapter`: the base's own command, which serves event functions and takes handler and contract as arguments. */
export function planBuild(detected: Detected, baseDigest: Digest, adapter: readonly string[]): BuildPlan {
  const { runtime, type, start, lockFile } = detected
  const installs = detected.package?.dependencyKey !== undefined
  const dependencies = installs ? (lockFile === undefined ? 'resolve' : 'locked') : 'none'
  const changes: ConfigChanges = {
    ...commandOf(start, adapter),
    env: start.kind === 'command' ? { PATH } : {},
    workingDir: '/var/user',
    user: '1000:1000',
    exposedPorts: type === 'job' ? [] : ['9000/tcp'],
    labels: {
      'org.opencontainers.image.base.digest': baseDigest,
      'slipway.runtime': runtime,
      'slipway.type': type,
      ...(start.kind === 'handler' ? { 'slipway.handler': start.handler, 'slipway.contract': start.contract } : {}),
    },
  }
  const lines = [
    `runtime ${runtime}, base ${baseDigest}`,
    start.kind === 'handler'
      ? `${type} function, handler ${start.handler}, contract ${start.contract}`
      : `${type === 'job' ? 'job' : `${type} function`}, command from ${start.from}: ${[...start.command, ...start.args].join(' ')}`,
    { none: 'no dependencies', locked: `dependencies by ${lockFile}`, resolve: 'dependencies without a lock file' }[
      dependencies
    ],
  ]
  return { runtime, baseDigest, type, dependencies, lockFile: lockFile ?? 'package-lock.json', changes, lines }
}

/** All of it is ENTRYPOINT: the arguments of a function's settings, which replace CMD, then come after it. */
function commandOf(start: Start, adapter: readonly string[]): Pick<ConfigChanges, 'entrypoint' | 'cmd'> {
  switch (start.kind) {
    case 'handler':
      return { entrypoint: [...adapter, start.handler, start.contract] }
    case 'command':
      return start.args.length === 0 ? { entrypoint: start.command } : { entrypoint: start.command, cmd: start.args }
    default:
      return start satisfies never
  }
}
