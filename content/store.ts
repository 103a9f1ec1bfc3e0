import { basename } from 'node:path'
import { AppError, type Logger, SingleFlight, toAppError } from '../common/index.ts'
import { type Digest, digestOf, type ImageConfig, parseImageConfig, parseManifest } from '../oci/index.ts'
import { readBlob } from './blobs.ts'
import type { ContentStore, Lease, LocalImage, PullRequest, PullResult } from './content-store.ts'
import type { ImageFiles } from './image-puller.ts'
import { type ImageRecord, resolveRecord, touchRecord } from './image-record.ts'
import { hasLayer } from './layer-record.ts'
import { type ContentLayout, layerTree, makeLayout } from './layout.ts'
import { allLeases, removeLease, writeLease } from './leases.ts'
import { withLock } from './lock.ts'
import { dropUncertainLayers } from './sweep.ts'
import { DEFAULT_LIMITS, type UnpackLimits } from './unpack-budget.ts'
import { WorkerClient } from './worker-client.ts'
import { workerCommand } from './worker-command.ts'
import type { PullFigures } from './worker-protocol.ts'

export interface ContentStoreOptions {
  logger: Logger
  /** Bounds of one layer. Default: 20 GiB, 2,000,000 entries, 256 MiB left free on the disk. */
  limits?: Partial<UnpackLimits>
  /** How long a worker without work keeps its memory. Default 60,000. */
  workerIdleMs?: number
}

/** As `ContentStore`, and what only its owner needs. */
export interface OwnedContentStore extends ContentStore {
  /** Process id of the content worker while there is one. */
  workerPid(): number | undefined
  /** Makes an image local from its documents and files of this machine, checked as if a registry had sent them. Refuses as `pull` does. */
  add(image: ImageFiles, signal: AbortSignal): Promise<LocalImage>
}

const MAX_REMEMBERED = 200
const REFUSALS = new Set(['registry-unauthorized', 'registry-denied', 'image-not-found'])

/** Opens (and makes, if need be) the content store in `directory`, which must lie on a file system with extended attributes. */
export async function openContentStore(directory: string, options: ContentStoreOptions): Promise<OwnedContentStore> {
  const layout = makeLayout(directory)
  await withLock(layout, () => dropUncertainLayers(layout))
  const settings = { directory, limits: { ...DEFAULT_LIMITS, ...options.limits } }
  const worker = new WorkerClient(workerCommand(settings), options.workerIdleMs ?? 60_000, options.logger)
  return new Store(layout, worker)
}

class Store implements OwnedContentStore {
  readonly #layout: ContentLayout
  readonly #worker: WorkerClient
  readonly #pulls = new SingleFlight<PullFigures>()
  readonly #configs = new Map<Digest, ImageConfig>()

  constructor(layout: ContentLayout, worker: WorkerClient) {
    this.#layout = layout
    this.#worker = worker
  }

  workerPid(): number | undefined {
    return this.#worker.pid
  }

  async find(digest: Digest): Promise<LocalImage | undefined> {
    const record = resolveRecord(this.#layout, digest)
    if (record === undefined || !record.layers.every((name) => hasLayer(this.#layout, name))) return undefined
    const config = this.#configOf(record)
    if (config === undefined) return undefined
    const directories = record.layers.map((name) => layerTree(this.#layout, name))
    return {
      manifestDigest: record.manifest as Digest,
      config,
      sizeBytes: record.sizeBytes,
      layerDirectories: directories.length === 1 ? [this.#layout.empty, ...directories] : directories,
    }
  }

  async pull(request: PullRequest, signal?: AbortSignal): Promise<PullResult> {
    const local = await this.find(request.digest)
    if (local !== undefined) return { image: local, pulled: false, downloadedBytes: 0, pullMs: 0, unpackMs: 0 }
    const deadline = deadlineSignal(request)
    const joined = signal === undefined ? deadline.signal : AbortSignal.any([signal, deadline.signal])
    try {
      const figures = await this.#share(request, joined)
      const image = await this.find(request.digest)
      if (image === undefined) throw vanished(`image ${request.repository}@${request.digest}`, 'pulled')
      return { image, pulled: true, ...figures }
    } finally {
      deadline.clear()
    }
  }

  async add(image: ImageFiles, signal: AbortSignal): Promise<LocalImage> {
    const digest = digestOf(image.manifest)
    const local = await this.find(digest)
    if (local !== undefined) return local
    await this.#worker.add(image, signal)
    const added = await this.find(digest)
    if (added === undefined) throw vanished(`image ${digest}`, 'added')
    return added
  }

  async lease(digest: Digest, owner: string): Promise<Lease> {
    const path = await withLock(this.#layout, () => {
      this.#touch(digest)
      return writeLease(this.#layout, digest, owner)
    })
    const release = (): void => {
      this.#touch(digest)
      removeLease(this.#layout, basename(path))
    }
    return { release }
  }

  releaseOwner(owner: string): void {
    for (const lease of allLeases(this.#layout)) {
      if (lease.owner !== owner) continue
      this.#touch(lease.digest)
      removeLease(this.#layout, lease.file)
    }
  }

  owners(): string[] {
    return [...new Set(allLeases(this.#layout).map(({ owner }) => owner))]
  }

  collect(limits: { maxBytes: number; minAgeMs: number }): Promise<{ removedBytes: number; removedLayers: number }> {
    return this.#worker.collect(limits)
  }

  close(): Promise<void> {
    return this.#worker.close()
  }

  /** One download for all that wait. Being refused is no property of the image: who joined one that was refused tries once with the own credential. */
  async #share(request: PullRequest, signal: AbortSignal): Promise<PullFigures> {
    let isOwn = false
    const work = (shared: AbortSignal): Promise<PullFigures> => {
      isOwn = true
      const { registry, repository, digest, credential } = request
      return this.#worker.pull({ registry, repository, digest, credential }, shared)
    }
    try {
      return await this.#pulls.run(request.digest, work, signal)
    } catch (thrown) {
      if (isOwn || signal.aborted || !REFUSALS.has(toAppError(thrown).code)) throw thrown
      return await this.#pulls.run(request.digest, work, signal)
    }
  }

  #configOf(record: ImageRecord): ImageConfig | undefined {
    const digest = record.manifest as Digest
    const known = this.#configs.get(digest)
    if (known !== undefined) return known
    const manifest = readBlob(this.#layout, digest)
    const config = readBlob(this.#layout, record.config as Digest)
    if (manifest === undefined || config === undefined) return undefined
    const document = parseManifest(manifest, '', `image ${digest}`)
    if (document.kind === 'index') return undefined
    const parsed = parseImageConfig(config, document.manifest, `image ${digest}`)
    if (this.#configs.size >= MAX_REMEMBERED) this.#configs.clear()
    this.#configs.set(digest, parsed)
    return parsed
  }

  /** Notes a use of the image, and of the index that it was asked by. */
  #touch(digest: Digest): void {
    const record = resolveRecord(this.#layout, digest)
    if (record === undefined) return
    touchRecord(this.#layout, digest)
    if (record.manifest !== digest) touchRecord(this.#layout, record.manifest as Digest)
  }
}

function deadlineSignal(request: PullRequest): { signal: AbortSignal; clear: () => void } {
  const controller = new AbortController()
  const leftMs = Math.max(0, request.deadlineMs - Date.now())
  const error = new AppError(`pull of ${request.repository}@${request.digest} was not done by its deadline`, {
    code: 'pull-timeout',
    fault: 'dependency',
    retryable: true,
    hint: 'give the function a longer initTimeout, or make the image smaller',
  })
  const timer = setTimeout(() => controller.abort(error), Math.min(leftMs, 2 ** 31 - 1))
  return { signal: controller.signal, clear: () => clearTimeout(timer) }
}

function vanished(what: string, how: 'pulled' | 'added'): AppError {
  return new AppError(`${what} was collected as soon as it was ${how}`, {
    code: 'pull-failed',
    retryable: true,
    hint: 'take a lease before',
  })
}
