import { connect } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
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

/** After SIGTERM a registry listens no more, but ends what it has begun, for so long at most. */
export const REGISTRY_DRAIN_MS = 30_000

/** What the local registry and its token server call each other. */
export const LOCAL_REGISTRY_NAMES = { service: 'slipway-registry', issuer: 'slipway' } as const

/** The configuration file of docker-registry (2.8) with token authentication, in that part of YAML that is JSON. Holds no secret. */
export function registryConfig(settings: LocalRegistrySettings): string {
  const host = settings.address.includes(':') ? `[${settings.address}]` : settings.address
  const configuration = {
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
    http: { addr: `${host}:${settings.port}`, relativeurls: true, draintimeout: `${REGISTRY_DRAIN_MS}ms` },
    auth: {
      token: {
        realm: settings.realm,
        service: settings.service,
        issuer: settings.issuer,
        rootcertbundle: settings.caFile,
      },
    },
  }
  return `${JSON.stringify(configuration, undefined, 2)}\n`
}

/** The program and arguments that serve this configuration file. */
export function registryCommand(configFile: string): { file: string; args: string[] } {
  return { file: 'docker-registry', args: ['serve', configFile] }
}

/** The same for removing blobs that no manifest refers to. No registry may write meanwhile. */
export function collectCommand(configFile: string): { file: string; args: string[] } {
  return { file: 'docker-registry', args: ['garbage-collect', configFile] }
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
    const found = await look(url, realm, either)
    if (found === 'ready') return
    if (!either.aborted) seen = found
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
    const { status, authenticate } = await head(url, signal)
    const ours = parseChallenges(authenticate).some(({ parameters }) => parameters.get('realm') === realm)
    return status === 401 && ours ? 'ready' : `another program that answers ${status}`
  } catch (thrown) {
    return messageOf(thrown)
  }
}

const MAX_HEAD = 16_384

/** What is answered to a GET, without a client library: the supervisor asks for nothing else by HTTP, and the smallest takes 7 MB. */
function head(url: URL, signal: AbortSignal): Promise<{ status: number; authenticate: string }> {
  return new Promise((resolve, reject) => {
    const socket = connect({ host: url.hostname, port: Number(url.port || 80), signal })
    let text = ''
    socket.on('connect', () =>
      socket.write(`GET ${url.pathname} HTTP/1.1\r\nhost: ${url.host}\r\nconnection: close\r\n\r\n`),
    )
    socket.on('data', (chunk: Buffer) => {
      text += chunk.toString('latin1')
      const end = text.indexOf('\r\n\r\n')
      if (end === -1 && text.length < MAX_HEAD) return
      socket.destroy()
      const [first = '', ...lines] = text.slice(0, end).split('\r\n')
      const status = Number(/^HTTP\/1\.[01] (\d{3})/.exec(first)?.[1] ?? 0)
      const header = lines.find((line) => /^www-authenticate:/i.test(line)) ?? ''
      resolve({ status, authenticate: header.slice(header.indexOf(':') + 1).trim() })
    })
    socket.on('error', reject)
    socket.on('close', () => reject(new Error('the connection was closed without an answer')))
  })
}
