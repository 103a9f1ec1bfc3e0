import { readFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { AppError, messageOf, run } from '../common/index.ts'

/** How this machine reaches its package registry: what is lent to the dependency step, for its time and in no layer. */
export interface NpmSettings {
  registry: URL
  strictSsl: boolean
  /** PEM of the certificate authorities that the machine adds to the usual ones; empty for none. */
  certificates: string
  /** The proxy that the machine itself has to go through. */
  upstreamProxy: URL | undefined
}

/** Variables that npm reads its settings from, and Node its additional certificates. */
const LENT_VARIABLES = /^(home|xdg_config_home|npm_config_(?!noproxy_)\w+|node_extra_ca_certs|(https?|no|all)_proxy)$/i

/** What the machine's own npm is started with. */
export function lentVariables(env: NodeJS.ProcessEnv): Record<string, string> {
  const lent = Object.entries(env).filter(([key, value]) => LENT_VARIABLES.test(key) && value !== undefined)
  return Object.fromEntries(lent) as Record<string, string>
}

/**
 * Asks the machine's own npm, so that every place it reads settings from counts. Throws `npm-unavailable`.
 * Tokens are not among what npm tells.
 */
export async function readNpmSettings(env: NodeJS.ProcessEnv, signal?: AbortSignal): Promise<NpmSettings> {
  const options = { env: lentVariables(env), cwd: tmpdir(), timeoutMs: 30_000 }
  try {
    const { stdout } = await run('npm', ['config', 'list', '--long', '--json'], {
      ...options,
      ...(signal === undefined ? {} : { signal }),
    })
    return interpretNpmSettings(JSON.parse(stdout) as Record<string, unknown>, env)
  } catch (cause) {
    signal?.throwIfAborted()
    throw new AppError(`the settings of npm cannot be read: ${messageOf(cause)}`, {
      code: 'npm-unavailable',
      fault: 'dependency',
      hint: 'dependencies are installed with the npm of this machine: check that "npm config list" works',
      cause,
    })
  }
}

/** The meaning of npm's settings (`npm config list --json`), apart from reading the certificate files that they name. */
export function interpretNpmSettings(config: Record<string, unknown>, env: NodeJS.ProcessEnv): NpmSettings {
  const text = (key: string): string | undefined => (typeof config[key] === 'string' ? config[key] : undefined)
  const registry = new URL(text('registry') ?? '')
  const files = [text('cafile'), env['NODE_EXTRA_CA_CERTS']].filter((file) => file !== undefined && file !== '')
  const inline = [config['ca']].flat().filter((pem) => typeof pem === 'string')
  const pems = [...new Set(files)].map((file) => readFileSync(String(file), 'utf8'))
  const proxy = registry.protocol === 'https:' ? (text('https-proxy') ?? text('proxy')) : text('proxy')
  const bypassed = [config['noproxy']]
    .flat()
    .some((entry) => typeof entry === 'string' && covers(entry, registry.hostname))
  return {
    registry,
    strictSsl: config['strict-ssl'] !== false,
    certificates: [...pems, ...inline].join('\n'),
    upstreamProxy: proxy === undefined || bypassed ? undefined : new URL(proxy),
  }
}

/** Whether a `noproxy` entry means `host`: the name itself or a domain that it lies in. */
function covers(entry: string, host: string): boolean {
  const domain = entry.trim().replace(/^\*?\./, '')
  return domain !== '' && (domain === '*' || host === domain || host.endsWith(`.${domain}`))
}
