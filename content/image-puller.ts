import { createReadStream } from 'node:fs'
import { performance } from 'node:perf_hooks'
import { AppError, type Logger, SingleFlight } from '../common/index.ts'
import {
  type Credential,
  type Descriptor,
  type Digest,
  digestHex,
  type LoadedImage,
  loadImage,
  machinePlatform,
  RegistryClient,
  readImage,
} from '../oci/index.ts'
import { storeBlob } from './blobs.ts'
import { composeImage } from './compose.ts'
import { writeRecord } from './image-record.ts'
import { hasLayer, readLayerRecord } from './layer-record.ts'
import type { ContentLayout } from './layout.ts'
import { limitedParallel } from './limited-parallel.ts'
import { withLock } from './lock.ts'
import { announcePull } from './pulls.ts'
import { makeLayer, shelfOf } from './shelf.ts'
import type { UnpackLimits } from './unpack-budget.ts'
import { unpackLayer } from './unpack-stream.ts'
import type { PullFigures } from './worker-protocol.ts'

export interface ImageSource {
  registry: string
  repository: string
  digest: Digest
  credential: Credential
}

/** Layers of one pull that are fetched and unpacked at once: enough to fill a link while others are inflated. */
const LAYERS_AT_ONCE = 6
const READ_BYTES = 512 * 1024

/** An image that lies in files of this machine: its documents as text, its compressed layers by digest. */
export interface ImageFiles {
  manifest: string
  config: string
  files: Readonly<Record<string, string>>
}

/** Where layers come from, and what it took. */
interface Fetch {
  open(layer: Descriptor): AsyncIterable<Uint8Array>
  figures: PullFigures
}

/** Makes images local: runs in the content worker. What another pull fetches already is waited for, not fetched twice. */
export class ImagePuller {
  readonly #layout: ContentLayout
  readonly #limits: UnpackLimits
  readonly #log: Logger
  readonly #layers = new SingleFlight<void>()

  constructor(layout: ContentLayout, limits: UnpackLimits, log: Logger) {
    this.#layout = layout
    this.#limits = limits
    this.#log = log
  }

  async pull(source: ImageSource, signal: AbortSignal): Promise<PullFigures> {
    const { registry, repository, credential } = source
    const startedMs = performance.now()
    const client = new RegistryClient({ registry, credential, signal })
    const open: Fetch['open'] = (layer) => client.openBlob(repository, layer)
    const fetch: Fetch = { open, figures: { downloadedBytes: 0, pullMs: 0, unpackMs: 0 } }
    try {
      const image = await loadImage(client, repository, source.digest, machinePlatform())
      await this.#pullImage(image, source.digest, fetch, signal)
      const figures = { ...fetch.figures, pullMs: performance.now() - startedMs }
      this.#log.info({ repository, digest: source.digest, ...figures }, 'image made local')
      return figures
    } finally {
      await client.close()
    }
  }

  /** As `pull`, with the same checks, from files: nothing is asked of a registry. */
  async add({ manifest, config, files }: ImageFiles, signal: AbortSignal): Promise<PullFigures> {
    const open: Fetch['open'] = (layer) => createReadStream(files[layer.digest] ?? '', { highWaterMark: READ_BYTES })
    const fetch: Fetch = { open, figures: { downloadedBytes: 0, pullMs: 0, unpackMs: 0 } }
    const image = readImage(Buffer.from(manifest), Buffer.from(config), machinePlatform())
    await this.#pullImage(image, image.descriptor.digest, fetch, signal)
    return fetch.figures
  }

  async #pullImage(image: LoadedImage, asked: Digest, fetch: Fetch, signal: AbortSignal): Promise<void> {
    const layout = this.#layout
    const diffIds = image.config.rootfs.diff_ids
    if (diffIds.length === 0) throw withoutLayers(image.descriptor.digest)
    const sources = [...new Set(diffIds.map(digestHex))]
    const done = await withLock(layout, () => announcePull(layout, sources))
    try {
      await this.#fetchLayers(image, fetch, signal)
      const composingMs = performance.now()
      const layers = composeImage(shelfOf(layout), diffIds)
      fetch.figures.unpackMs += performance.now() - composingMs
      const manifest = image.descriptor.digest
      const config = image.manifest.config.digest
      await withLock(layout, () => {
        storeBlob(layout, manifest, image.manifestBytes)
        storeBlob(layout, config, image.configBytes)
        const sizeBytes = image.sizeBytes
        writeRecord(layout, manifest, { version: 1, kind: 'image', manifest, config, sizeBytes, layers, sources })
        if (asked !== manifest) writeRecord(layout, asked, { version: 1, kind: 'index', manifest })
      })
    } finally {
      done()
    }
  }

  /** The largest first, so that the last one to end is a small one. */
  async #fetchLayers(image: LoadedImage, fetch: Fetch, signal: AbortSignal): Promise<void> {
    const wanted = new Map<Digest, Descriptor>()
    for (const [index, diffId] of image.config.rootfs.diff_ids.entries()) {
      const descriptor = image.manifest.layers[index]
      if (descriptor !== undefined && !hasLayer(this.#layout, digestHex(diffId))) wanted.set(diffId, descriptor)
    }
    const bySize = [...wanted].toSorted(([, a], [, b]) => b.size - a.size)
    await limitedParallel(bySize, LAYERS_AT_ONCE, signal, async ([diffId, descriptor], abort) => {
      await this.#layers.run(diffId, (shared) => this.#fetchLayer(descriptor, diffId, fetch, shared), abort)
    })
  }

  async #fetchLayer(descriptor: Descriptor, diffId: Digest, fetch: Fetch, signal: AbortSignal): Promise<void> {
    if (hasLayer(this.#layout, digestHex(diffId))) return
    const { figures } = fetch
    await makeLayer(this.#layout, digestHex(diffId), async (tree) => {
      const unpacked = await unpackLayer(fetch.open(descriptor), { descriptor, diffId }, tree, this.#limits, signal)
      figures.downloadedBytes += descriptor.size
      figures.unpackMs += unpacked.unpackMs
      return unpacked
    })
    if (readLayerRecord(this.#layout, digestHex(diffId)) === undefined)
      throw new Error('a layer vanished as it was made')
  }
}

function withoutLayers(digest: Digest): AppError {
  return new AppError(`image ${digest} has no layers: nothing in it could be started`, {
    code: 'image-unsupported',
    fault: 'user',
    hint: 'deploy an image with files in it',
  })
}
