import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DEFAULT_NAMESPACE_SETTINGS, type Version } from '../../api/index.ts'
import { AppError, createLogger } from '../../common/index.ts'
import { type OwnedContentStore, openContentStore } from '../../content/index.ts'
import { openSqliteStore, type Store } from '../../control-plane/index.ts'
import { PullCredentialIssuer } from '../../control-plane/pull-credentials.ts'
import { requirePull } from '../../control-plane/pull-rights.ts'
import { type Credential, type Digest, RegistryClient } from '../../oci/index.ts'
import { type CredentialSource, TemporaryCredentials } from '../../registry-auth/index.ts'
import type { PreparedImage } from '../../runtime-shim/engines/engine.ts'
import { DownloadTable } from '../../runtime-shim/host/download-table.ts'
import type { HostClient } from '../../runtime-shim/host/host-client.ts'
import type { Args } from '../../runtime-shim/host/port.ts'
import { Downloads } from '../../runtime-shim/instances/downloads.ts'
import type { StartContext } from '../../runtime-shim/instances/start.ts'
import { StartBudget } from '../../runtime-shim/instances/start-budget.ts'
import { type MadeImage, makeImage } from './made-image.ts'
import { file, makeTar } from './tar-maker.ts'
import { startTokenRegistry, type TokenRegistry } from './token-registry.ts'

const NO_LIMITS = { maxBytes: 0, minAgeMs: 0 }

/**
 * Everything that a download goes through (grants, ledger in SQLite, token server, registry, content worker), with a supervisor that
 * makes instances of what is local and nothing more.
 */
export class PullHarness {
  readonly home = mkdtempSync(join(tmpdir(), 'slipway-pulls-'))
  /** The credential of each `prepare`, by its download. */
  readonly prepared: { download: string; credential: Credential }[] = []
  /** Awaited by each `prepare` before it fetches. */
  gate: (credential: Credential) => Promise<void> = async () => undefined
  readonly supervisor = new DownloadTable((name) => void this.ended.push(name))
  readonly ended: string[] = []
  store!: Store
  registry!: TokenRegistry
  content!: OwnedContentStore
  issuer!: PullCredentialIssuer
  context!: StartContext
  #made = 0

  async open(others: CredentialSource = { for: async () => ({ kind: 'anonymous' }) }): Promise<void> {
    const logger = createLogger('test')
    logger.level = 'silent'
    process.env['SLIPWAY_LOG_LEVEL'] ??= 'warn' // the content worker's, which it inherits
    const temporary = new TemporaryCredentials({ onUse: (id) => this.issuer.used(id) })
    this.registry = await startTokenRegistry(temporary)
    this.store = await openSqliteStore({ path: join(this.home, 'slipway.db'), logger })
    this.content = await openContentStore(join(this.home, 'content'), { logger })
    const localRegistry = this.registry.host
    this.issuer = new PullCredentialIssuer({
      ledger: this.store.credentials,
      temporary,
      localRegistry,
      others,
      requireRight: ({ namespace, image }) =>
        requirePull(namespace, this.store.snapshot.namespace(namespace), image, localRegistry),
    })
    const host = { call: (op: string, args: unknown) => this.#answer(op, args) } as unknown as HostClient
    const identity = { region: '', appId: '', uin: '' }
    this.context = { host, downloads: new Downloads(host, this.issuer), starts: new StartBudget(() => 1_000), identity }
  }

  /** A version whose image is in the registry and nowhere else. */
  async version(
    namespace: string,
    name: string,
    image: MadeImage,
    repository = `${namespace}/${name}`,
  ): Promise<Version> {
    if (this.store.snapshot.namespace(namespace) === undefined) {
      await this.store.putNamespace({ name: namespace, ...DEFAULT_NAMESPACE_SETTINGS, createdAtMs: 1 })
    }
    const { digest } = image
    return {
      namespace,
      function: name,
      version: '$LATEST',
      revision: 1,
      image: { registry: this.registry.host, repository, digest, platformDigest: digest, sizeBytes: 1 },
      settings: {
        type: 'event',
        env: {},
        memory: 128,
        timeout: 3,
        initTimeout: 90,
        concurrency: 1,
        prewarm: 0,
        keepAlive: 300,
      } as Version['settings'],
      createdAtMs: 1,
    }
  }

  async push(repository: string, image = makeImage([makeTar([file('hello')])])): Promise<MadeImage> {
    const client = new RegistryClient({ registry: this.registry.host, credential: this.registry.admin })
    try {
      for (const [digest, { bytes, mediaType }] of image.blobs) {
        if (digest === image.digest) await client.putManifest(repository, digest, mediaType, bytes)
        else await client.uploadBlob(repository, { digest, mediaType, size: bytes.length }, bytes)
      }
      return image
    } finally {
      await client.close()
    }
  }

  /** Forgets every image. */
  async evict(): Promise<void> {
    await this.content.collect(NO_LIMITS)
  }

  /** What the token server answers to this credential now. */
  async tokenStatus(credential: Credential, repository: string): Promise<{ status: number; token: string }> {
    const login = credential.kind === 'basic' ? `${credential.username}:${credential.password}` : ''
    const response = await fetch(
      `${this.registry.realm}?service=slipway-registry&scope=repository:${repository}:pull`,
      { headers: { authorization: `Basic ${Buffer.from(login).toString('base64')}` } },
    )
    const body = (await response.json()) as { token?: string }
    return { status: response.status, token: body.token ?? '' }
  }

  async close(): Promise<void> {
    await this.content.close()
    await this.store.close()
    await this.registry.stop()
    rmSync(this.home, { recursive: true, force: true })
  }

  async #answer(op: string, args: unknown): Promise<unknown> {
    if (op === 'prepare') return this.#prepare(args as Args<'prepare'>)
    if (op !== 'create') throw new Error(`no ${op} here`)
    const digest = (args as Args<'create'>).digest as Digest
    if ((await this.content.find(digest)) === undefined) {
      throw new AppError('not here', { code: 'image-not-local' })
    }
    this.#made += 1
    return { id: this.#made.toString(16).padStart(16, '0'), createMs: 1 }
  }

  #prepare({ download = '', credential, timeoutMs, digest, ...place }: Args<'prepare'>): Promise<unknown> {
    if (credential === null) throw new Error('no credential')
    this.prepared.push({ download, credential })
    const deadlineMs = Date.now() + timeoutMs
    const fetchImage = async (signal: AbortSignal): Promise<PreparedImage> => {
      await this.gate(credential)
      const request = { ...place, digest: digest as Digest, credential, deadlineMs }
      const { image, ...figures } = await this.content.pull(request, signal)
      const { manifestDigest, config, sizeBytes } = image
      return { digest: manifestDigest, config, sizeBytes, ...figures }
    }
    return this.supervisor.run(download, fetchImage, AbortSignal.timeout(timeoutMs + 1_000))
  }
}
