import { createRequire } from 'node:module'
import type { DestinationStream, Logger } from 'pino'

export type { Logger } from 'pino'

/** Keys whose value never reaches a log, at the top level and one level down. */
const SECRET_KEYS = ['password', 'token', 'authorization', 'secret', 'credential', 'privateKey', 'cookie']

/** Loaded with the first logger: it takes 3.5 MB, and the parent and most commands log nothing. */
const load = createRequire(import.meta.url)

/**
 * The root logger of a process: one JSON object a line, object first, constant message.
 * Secrets are replaced by `[secret]` by key; what cannot be known by key must not be logged at all.
 */
export function createLogger(component: string, destination?: DestinationStream): Logger {
  const { pino } = load('pino') as typeof import('pino')
  const paths = SECRET_KEYS.flatMap((key) => [key, `*.${key}`])
  const options = {
    base: { component, pid: process.pid },
    level: process.env['SLIPWAY_LOG_LEVEL'] ?? 'info',
    redact: { paths, censor: '[secret]' },
    timestamp: pino.stdTimeFunctions.isoTime,
  }
  return destination === undefined ? pino(options) : pino(options, destination)
}
