import { readFileSync } from 'node:fs'
import { homedir } from 'node:os'
import { AppError, type DataPaths, dataPaths, defaultDataDirectory, errnoOf } from '../common/index.ts'

/** Where the platform answers and what lets the CLI in. */
export interface Connection {
  /** `http://127.0.0.1:8080`, without a slash at the end. */
  url: string
  token: string
}

/**
 * Finds the platform: `SLIPWAY_SERVER` and `SLIPWAY_TOKEN`, each else from the data directory of this machine (admin-token, and
 * run/supervisor.json for the port). Throws `server-unreachable` (nothing was ever started here), `token-missing`.
 */
export function findConnection(env: NodeJS.ProcessEnv): Connection {
  const named = env['SLIPWAY_SERVER']
  const url = named === undefined || named === '' ? localUrl(env) : checkedUrl(named)
  return { url, token: env['SLIPWAY_TOKEN'] || localToken(env) }
}

/** The data directory of this user, whether it exists or not. */
export function dataDirectoryOf(env: NodeJS.ProcessEnv): string {
  return defaultDataDirectory(env, process.getuid?.() ?? -1, homedir())
}

/** The data directory that the CLI looks into; undefined when it does not exist. */
export function localPaths(env: NodeJS.ProcessEnv): DataPaths | undefined {
  try {
    return dataPaths(dataDirectoryOf(env))
  } catch (thrown) {
    if (errnoOf(thrown) === 'ENOENT') return undefined
    throw thrown
  }
}

function localUrl(env: NodeJS.ProcessEnv): string {
  const paths = localPaths(env)
  const state = paths === undefined ? undefined : readJson(paths.supervisorFile)
  const port = (state as { port?: unknown } | undefined)?.port
  if (typeof port === 'number') return `http://127.0.0.1:${port}`
  throw new AppError(`no platform runs on ${paths?.root ?? 'this machine'}`, {
    code: 'server-unreachable',
    fault: 'user',
    hint: 'start it with "slipway up", or name another one by SLIPWAY_SERVER and SLIPWAY_TOKEN',
  })
}

function localToken(env: NodeJS.ProcessEnv): string {
  const paths = localPaths(env)
  try {
    if (paths !== undefined) return readFileSync(paths.adminToken, 'utf8').trim()
  } catch (thrown) {
    if (errnoOf(thrown) !== 'ENOENT' && errnoOf(thrown) !== 'EACCES') throw thrown
  }
  throw new AppError(
    `no token: ${paths?.adminToken ?? 'the data directory'} cannot be read and SLIPWAY_TOKEN is not set`,
    {
      code: 'token-missing',
      fault: 'user',
      hint: 'run as the user who started the platform, or set SLIPWAY_TOKEN',
    },
  )
}

function readJson(path: string): unknown {
  try {
    return JSON.parse(readFileSync(path, 'utf8'))
  } catch (thrown) {
    if (errnoOf(thrown) === 'ENOENT' || thrown instanceof SyntaxError) return undefined
    throw thrown
  }
}

function checkedUrl(text: string): string {
  if (URL.canParse(text) && /^https?:$/.test(new URL(text).protocol)) return text.replace(/\/+$/, '')
  throw new AppError(`SLIPWAY_SERVER is "${text.slice(0, 200)}", which is no http or https address`, {
    code: 'usage',
    fault: 'user',
    hint: 'for example http://127.0.0.1:8080',
  })
}
