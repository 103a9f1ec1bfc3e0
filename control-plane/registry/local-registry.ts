import { createReadStream } from 'node:fs'
import { createInterface } from 'node:readline'
import type { RegistryImage, Version } from '../../api/index.ts'
import type { Logger } from '../../common/index.ts'
import { RegistryClient } from '../../oci/index.ts'
import type { TemporaryCredential, TemporaryCredentials, WriteGate } from '../../registry-auth/index.ts'
import type { HostClient } from '../../runtime-shim/index.ts'
import type { DocumentStore } from '../store/store.ts'
import { RegistryCollection } from './collection.ts'
import { type Holdings, readHoldings } from './holdings.ts'
import { KEEP_REPOSITORY, sizeOf } from './removable.ts'
import { key, readStoredImages, type StoredImage } from './stored-images.ts'

export interface LocalRegistryOptions {
  host: Pick<HostClient, 'call' | 'takeDescriptor'>
  /** `127.0.0.1:5000` */
  registry: string
  temporary: TemporaryCredentials
  gate: WriteGate
  documents: DocumentStore
  /** Of functions, of what runs, and of jobs that wait. */
  versionsInUse: () => Version[]
  logger: Logger
}

const LOOK_MS = 5 * 60_000
const COLLECT_MS = 60 * 60_000

/** What the server does with the local registry as a whole: it looks through all of it, and collects it. */
export class LocalRegistry {
  readonly collection: RegistryCollection
  readonly #options: LocalRegistryOptions

  constructor(options: LocalRegistryOptions) {
    this.#options = options
    const { host, temporary, gate, documents, logger, versionsInUse } = options
    const everything = { repository: '*', actions: ['pull', 'push', 'delete'] } as const
    this.collection = new RegistryCollection({
      gate,
      documents,
      logger,
      issueCredential: () => temporary.issue([everything], Date.now() + COLLECT_MS),
      connect: (credential) => this.#connect(credential),
      setMode: (mode) => host.call('registry', { mode }, AbortSignal.timeout(COLLECT_MS)),
      holdings: () => this.#holdings(),
      inUse: async () => {
        const { instances } = await host.call('list', {}, AbortSignal.timeout(LOOK_MS))
        return { versions: versionsInUse(), digests: instances.map(({ digest }) => digest) }
      },
    })
  }

  /** Every image but those that an index leads to, by repository; of one repository, or of all below `PREFIX/`. */
  async images(repository?: string): Promise<RegistryImage[]> {
    const credential = this.#options.temporary.issue([{ repository: '*', actions: ['pull'] }], Date.now() + LOOK_MS)
    const client = this.#connect(credential)
    try {
      const holdings = await this.#holdings()
      const isAsked = (entry: { repository: string }): boolean =>
        entry.repository !== KEEP_REPOSITORY && isBelow(repository, entry.repository)
      const { manifests, tags } = holdings
      const images = await readStoredImages(client, {
        ...holdings,
        manifests: manifests.filter(isAsked),
        tags: tags.filter(isAsked),
      })
      return this.#describe(images)
    } finally {
      credential.end()
      await client.close()
    }
  }

  #describe(images: readonly StoredImage[]): RegistryImage[] {
    const byKey = new Map(images.map((image) => [key(image.repository, image.digest), image]))
    const parts = new Set(images.flatMap(({ repository, children }) => children.map((child) => key(repository, child))))
    const versions = this.#options.versionsInUse()
    return images
      .filter(({ repository, digest, tags }) => tags.length > 0 || !parts.has(key(repository, digest)))
      .map((image) => ({
        repository: image.repository,
        digest: image.digest,
        tags: image.tags.toSorted(),
        mediaType: image.mediaType,
        sizeBytes: sizeOf(image, byKey),
        pushedAtMs: image.pushedAtMs,
        usedBy: usersOf(image, versions),
      }))
      .sort((one, other) => one.repository.localeCompare(other.repository) || other.pushedAtMs - one.pushedAtMs)
  }

  #connect({ username, password }: TemporaryCredential): RegistryClient {
    return new RegistryClient({ registry: this.#options.registry, credential: { kind: 'basic', username, password } })
  }

  async #holdings(): Promise<Holdings> {
    const { host } = this.#options
    const { descriptor } = await host.call('registryFiles', {}, AbortSignal.timeout(LOOK_MS))
    const input = createReadStream('', { fd: host.takeDescriptor(descriptor), encoding: 'utf8', start: 0 })
    return readHoldings(createInterface({ input }))
  }
}

function isBelow(wanted: string | undefined, repository: string): boolean {
  if (wanted === undefined || wanted === repository) return true
  return wanted.endsWith('/') && repository.startsWith(wanted)
}

function usersOf({ repository, digest, children }: StoredImage, versions: readonly Version[]): RegistryImage['usedBy'] {
  const digests = new Set<string>([digest, ...children])
  const users = versions.filter(({ image }) => image.repository === repository && digests.has(image.digest))
  const byName = new Map(
    users.map((version) => [`${version.namespace}/${version.function}@${version.revision}`, version]),
  )
  return [...byName.values()].map(({ namespace, function: name, revision }) => ({
    namespace,
    function: name,
    revision,
  }))
}
