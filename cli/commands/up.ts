import { resolve } from 'node:path'
import { defineCommand, expectPositionals, usageError } from '../command.ts'
import { dataDirectoryOf } from '../connection.ts'
import { type EngineName, up as runUp } from '../platform/index.ts'

/** Options of `up` and `start`. */
export const UP_OPTIONS = {
  port: { placeholder: 'PORT', description: 'of API and gateway (default 8080)' },
  'registry-port': { placeholder: 'PORT', description: 'of the local registry (default 5000)' },
  engine: { placeholder: 'runc|docker', description: 'what runs the instances (default runc)' },
  'oci-runtime': {
    placeholder: 'auto|runc|crun',
    description: 'what starts containers (default auto: crun where it can)',
  },
  region: { placeholder: 'NAME', description: 'that functions are told they run in (default local)' },
  'app-id': { placeholder: 'ID', description: 'that functions are told as the account (default 0)' },
  uin: { placeholder: 'ID', description: 'that functions are told as the account’s uin (default 0)' },
  'docker-config': {
    placeholder: 'FILE',
    description: 'config.json with credentials and helpers for other registries (default none)',
  },
  sandboxes: { placeholder: 'N', description: 'sandboxes kept waiting, runc only (default 2)' },
} as const

export interface UpValues {
  port?: string
  'registry-port'?: string
  engine?: string
  'oci-runtime'?: string
  sandboxes?: string
  'docker-config'?: string
  region?: string
  'app-id'?: string
  uin?: string
}

/** The options of `up` from the command line. Throws `usage`. */
export function readUpValues(values: UpValues, env: NodeJS.ProcessEnv) {
  return {
    dataDirectory: dataDirectoryOf(env),
    address: '127.0.0.1',
    port: wholeNumber('--port', values.port, 8080, 1, 65535),
    registryPort: wholeNumber('--registry-port', values['registry-port'], 5000, 1, 65535),
    engine: engineName(values.engine),
    identity: {
      region: plainText('--region', values.region, 'local'),
      appId: plainText('--app-id', values['app-id'], '0'),
      uin: plainText('--uin', values.uin, '0'),
    },
    ociRuntime: runtimeName(values['oci-runtime']),
    ...(values['docker-config'] === undefined ? {} : { dockerConfig: resolve(values['docker-config']) }),
    waitingSandboxes: wholeNumber('--sandboxes', values.sandboxes, 2, 0, 64),
  }
}

export const up = defineCommand({
  usage: '',
  details: 'Starts the platform on $SLIPWAY_DATA and stays until Ctrl-C or "slipway down".',
  options: UP_OPTIONS,
  run: (context, values, positionals) => {
    expectPositionals(positionals, [])
    const options = readUpValues(values, context.env)
    return runUp({
      ...options,
      json: context.output.format === 'json',
      afterReady: { say: 'next: slipway deploy PATH   (Ctrl-C or "slipway down" ends the platform)' },
    })
  },
})

export function engineName(text: string | undefined): EngineName {
  if (text === undefined || text === 'runc') return 'runc'
  if (text === 'docker') return 'docker'
  throw usageError(`--engine is runc or docker, not "${text.slice(0, 60)}"`)
}

function runtimeName(text = 'auto'): 'auto' | 'runc' | 'crun' {
  if (text === 'auto' || text === 'runc' || text === 'crun') return text
  throw usageError(`--oci-runtime is auto, runc or crun, not "${text.slice(0, 60)}"`)
}

/** Goes into headers and variables as it is: no blanks, no control characters. */
function plainText(option: string, text: string | undefined, otherwise: string): string {
  if (text === undefined) return otherwise
  if (/^[\x21-\x7e]{1,64}$/.test(text)) return text
  throw usageError(`${option} takes 1 to 64 printable characters without blanks`)
}

function wholeNumber(option: string, text: string | undefined, otherwise: number, min: number, max: number): number {
  if (text === undefined) return otherwise
  const number = Number(text)
  if (Number.isInteger(number) && number >= min && number <= max) return number
  throw usageError(`${option} takes a whole number from ${min} to ${max}, not "${text.slice(0, 60)}"`)
}
