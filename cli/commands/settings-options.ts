import type { SettingsPatch } from '../../api/index.ts'
import { type Options, usageError, type Values } from '../command.ts'

/** Options of `deploy` that are settings of the function; units and defaults as in function.yaml. */
export const SETTINGS_OPTIONS = {
  type: { placeholder: 'event|web|job', description: 'what calls it takes' },
  command: { placeholder: 'TEXT', description: 'replaces ENTRYPOINT; split on blanks' },
  args: { placeholder: 'TEXT', description: 'replaces CMD; split on blanks' },
  env: { short: 'e', placeholder: 'KEY=VALUE', many: true, description: 'environment variable; KEY= makes it empty' },
  memory: { placeholder: 'MB', description: '64 or a multiple of 128 (default 128)' },
  timeout: { placeholder: 'S', description: 'execution of one call (default 3)' },
  'init-timeout': { placeholder: 'S', description: 'pull and start (default 90)' },
  concurrency: { placeholder: 'N', description: 'calls at once in an instance (default 1)' },
  'max-instances': { placeholder: 'N', description: 'hard cap' },
  provisioned: { placeholder: 'N', description: 'instances kept listening whatever the load (default 0)' },
  prewarm: { placeholder: 'N', description: 'instances kept created but not started (default 0)' },
  'keep-alive': { placeholder: 'S', description: 'idle time before an instance ends (default 300)' },
  auth: { placeholder: 'none|token', description: 'who may call a web function (default none)' },
  'max-request': { placeholder: 'BYTES', description: 'body of a web request (default 6291456)' },
  'max-response': { placeholder: 'BYTES', description: 'body of a web answer (default 6291456)' },
  'websocket-idle': { placeholder: 'S', description: 'a WebSocket without a byte is closed (default 15)' },
} as const satisfies Options

/** What the options say, as the API takes it. Throws `usage`. */
export function readSettings(values: Values<typeof SETTINGS_OPTIONS>): SettingsPatch {
  const { type, command, args, env } = values
  const given = {
    type: type === undefined ? undefined : checkedType(type),
    command,
    args,
    env: env === undefined ? undefined : Object.fromEntries(env.map(keyAndValue)),
    memory: wholeNumber('memory', values.memory),
    timeout: wholeNumber('timeout', values.timeout),
    initTimeout: wholeNumber('init-timeout', values['init-timeout']),
    concurrency: wholeNumber('concurrency', values.concurrency),
    maxInstances: wholeNumber('max-instances', values['max-instances']),
    provisioned: wholeNumber('provisioned', values.provisioned),
    prewarm: wholeNumber('prewarm', values.prewarm),
    keepAlive: wholeNumber('keep-alive', values['keep-alive']),
    auth: values.auth === undefined ? undefined : checkedAuth(values.auth),
    limits: named({
      requestBytes: wholeNumber('max-request', values['max-request']),
      responseBytes: wholeNumber('max-response', values['max-response']),
    }),
    websocket: named({ idleTimeout: wholeNumber('websocket-idle', values['websocket-idle']) }),
  }
  return Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined))
}

/** What was given of an object of settings; undefined when nothing was. */
function named(given: Record<string, number | undefined>): Record<string, number> | undefined {
  const entries = Object.entries(given).filter((entry): entry is [string, number] => entry[1] !== undefined)
  return entries.length === 0 ? undefined : Object.fromEntries(entries)
}

function checkedAuth(auth: string): 'none' | 'token' {
  if (auth === 'none' || auth === 'token') return auth
  throw usageError(`--auth is none or token, not "${auth}"`)
}

export function checkedType(type: string): 'event' | 'web' | 'job' {
  if (type === 'event' || type === 'web' || type === 'job') return type
  throw usageError(`--type is event, web or job, not "${type}"`)
}

function wholeNumber(name: string, text: string | undefined): number | undefined {
  if (text === undefined) return undefined
  if (/^[0-9]{1,13}$/.test(text)) return Number(text)
  throw usageError(`--${name} is a whole number, not "${text}"`)
}

function keyAndValue(text: string): [string, string] {
  const at = text.indexOf('=')
  if (at < 1) throw usageError(`--env is KEY=VALUE, not "${text}"`)
  return [text.slice(0, at), text.slice(at + 1)]
}
