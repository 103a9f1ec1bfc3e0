import { setTimeout as sleep } from 'node:timers/promises'
import { request } from 'undici'
import { stringify } from 'yaml'
import { AppError, messageOf } from '../common/index.ts'
import { parseChallenges, registryOrigin } from '../oci/index.ts'

export interface LocalRegistrySettings {
  /** What it listens on; port 0 takes a free one, which its log names. */
  address: string
  port: number
  storageDirectory: string
  /** Where clients get tokens: an address that they can reach. */
  realm: string
  service: string
  issuer: string
  /** The CA's certificate, readable for the registry's user. */
  caFile: string
  logLevel?: 'error' | 'warn' | 'info'
  /** Refuses pushes with 405, for garbage collection. Default false. */
  readOnly?: boolean
}

/** What the local registry and its token server call each other. */
export const LOCAL_REGISTRY_NAMES = { service: 'slipway-registry', issuer: 'slipway' } as const

/** The configuration file of docker-registry (2.8) with token authentication. Holds no secret. */
export function registryConfig(settings: LocalRegistrySettings): string {
  const host = settings.address.includes(':') ? `[${settings.address}]` : settings.address
  return stringify({
    version: 0.1,
    log: { level: settings.logLevel ?? 'warn', formatter: 'json', accesslog: { disabled: true } },
    storage: {
      filesystem: { rootdirectory: settings.storageDirectory },
      cache: { blobdescriptor: 'inmemory' },
      delete: { enabled: true },
      maintenance: {
        uploadpurging: { enabled: true, age: '24h', interval: '6h', dryrun: false },
        readonly: { enabled: settings.readOnly === true },
      },
    },
    // Relative locations stay right behind another name, port or TLS.
    http: { addr: `${host}:${settings.port}`, relativeurls: true },
    auth: {
      token: {
        realm: settings.realm,
        service: settings.service,
        issuer: settings.issuer,
        rootcertbundle: settings.caFile,
      },
    },
  })
}

/** The program and arguments that serve this configuration file. */
export function registryCommand(configFile: string): { file: string; args: string[] } {
  return { file: 'docker-registry', args: ['serve', configFile] }
}

const POLL_MS = 20

/**
 * Waits until our registry answers at `registry` (`127.0.0.1:5000`): a 401 that sends to `realm`, so that another program on
 * the port is not taken for it. Throws `registry-not-ready` after `timeoutMs` (default 10 s) with what was seen last.
 */
export async function waitForRegistry(
  registry: string,
  realm: string,
  { timeoutMs = 10_000, signal }: { timeoutMs?: number; signal?: AbortSignal } = {},
): Promise<void> {
  const deadline = AbortSignal.timeout(timeoutMs)
  const either = signal === undefined ? deadline : AbortSignal.any([signal, deadline])
  const url = new URL('/v2/', registryOrigin(registry))
  let seen = 'nothing'
  while (!either.aborted) {
    seen = await look(url, realm, either)
    if (seen === 'ready') return
    await sleep(POLL_MS, undefined, { signal: either }).catch(() => undefined)
  }
  signal?.throwIfAborted()
  throw new AppError(`the registry at ${registry} did not answer within ${timeoutMs} ms; last seen: ${seen}`, {
    code: 'registry-not-ready',
    retryable: true,
    hint: 'see the log of the registry; the port may be taken by another program',
  })
}

async function look(url: URL, realm: string, signal: AbortSignal): Promise<string> {
  try {
    const { statusCode, headers, body } = await request(url, { signal, reset: true })
    await body.dump()
    const header = headers['www-authenticate']
    const challenges = parseChallenges(Array.isArray(header) ? header.join(', ') : (header ?? ''))
    const ours = challenges.some(({ parameters }) => parameters.get('realm') === realm)
    return statusCode === 401 && ours ? 'ready' : `another program that answers ${statusCode}`
  } catch (thrown) {
    return messageOf(thrown)
  }
}
