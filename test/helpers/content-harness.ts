import { type ChildProcess, spawn } from 'node:child_process'
import { mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createLogger } from '../../common/index.ts'
import {
  type ContentStoreOptions,
  type OwnedContentStore,
  openContentStore,
  type PullResult,
} from '../../content/index.ts'
import { type Digest, digestHex } from '../../oci/index.ts'
import { COMPILED_CACHE } from './cache.ts'
import { type BlobServer, type MadeImage, serveImages } from './made-image.ts'
import { hashTree } from './tree-description.ts'

/** A registry, a directory and stores on it, all of which end with `close`. */
export class ContentHarness {
  readonly scratch = mkdtempSync(join(tmpdir(), 'slipway-content-'))
  readonly directory: string
  readonly #stores: OwnedContentStore[] = []
  #server: BlobServer | undefined

  constructor() {
    this.directory = join(this.scratch, 'content')
  }

  get server(): BlobServer {
    if (this.#server === undefined) throw new Error('not started')
    return this.#server
  }

  async start(): Promise<void> {
    this.#server = await serveImages()
  }

  async open(options: Partial<ContentStoreOptions> = {}, directory = this.directory): Promise<OwnedContentStore> {
    const store = await openContentStore(directory, { logger: createLogger('test'), ...options })
    this.#stores.push(store)
    return store
  }

  /** Serves the image and pulls it. */
  pull(store: OwnedContentStore, image: MadeImage, signal?: AbortSignal): Promise<PullResult> {
    this.server.add(image)
    return store.pull(this.request(image.digest), signal)
  }

  request(digest: Digest, withinMs = 30_000): Parameters<OwnedContentStore['pull']>[0] {
    return {
      registry: this.server.address,
      repository: 'made/image',
      digest,
      credential: { kind: 'anonymous' },
      deadlineMs: Date.now() + withinMs,
    }
  }

  /** A process of its own that pulls `image` into the same directory. */
  spawnPull(image: MadeImage): ChildProcess {
    this.server.add(image)
    const script = join(import.meta.dirname, 'content-child.ts')
    const args = [script, this.directory, this.server.address, image.digest]
    const env = { ...process.env, NODE_COMPILE_CACHE: COMPILED_CACHE }
    return spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'], env })
  }

  /** Names of the layers that are visible. */
  layers(): string[] {
    return readdirSync(join(this.directory, 'layers')).sort()
  }

  /** The tree hash of each visible layer, by name. */
  layerHashes(): Map<string, string> {
    return new Map(this.layers().map((name) => [name, hashTree(join(this.directory, 'layers', name, 'tree'))]))
  }

  /** Requests for the bytes of a layer. */
  fetches(image: MadeImage): string[] {
    const layers = new Set(image.layers.map(({ digest }) => digestHex(digest)))
    return this.server.requests.map(({ path }) => path.split(':').at(-1) ?? '').filter((hex) => layers.has(hex))
  }

  async close(): Promise<void> {
    await Promise.all(this.#stores.map((store) => store.close()))
    await this.#server?.close()
    // a killed process's worker may still be ending
    rmSync(this.scratch, { recursive: true, force: true, maxRetries: 10, retryDelay: 100 })
  }
}
