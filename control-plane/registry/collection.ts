import { setTimeout as sleep } from 'node:timers/promises'
import type { RegistryCollected, RegistryCollectionStep } from '../../api/index.ts'
import { AppError, type Logger, toAppError } from '../../common/index.ts'
import type { RegistryClient } from '../../oci/index.ts'
import type { TemporaryCredential, WriteGate } from '../../registry-auth/index.ts'
import type { DocumentStore } from '../store/store.ts'
import type { Holdings } from './holdings.ts'
import { Interlock } from './interlock.ts'
import { keepBlobs } from './keep-blobs.ts'
import { divide, type InUse, unfinishedBlobs } from './removable.ts'
import { Steps } from './steps.ts'
import { inParallel, readStoredImages } from './stored-images.ts'

export interface CollectionOptions {
  gate: WriteGate
  /** A credential for everything in the local registry, for as long as a collection may take. */
  issueCredential: () => TemporaryCredential
  /** A client of the local registry with it. */
  connect: (credential: TemporaryCredential) => RegistryClient
  /** Changes what the registry does; resolves when that is so. */
  setMode: (mode: 'serve' | 'read-only' | 'collect') => Promise<unknown>
  holdings: () => Promise<Holdings>
  inUse: () => Promise<InUse>
  documents: DocumentStore
  logger: Logger
}

/** Remembers that a collection goes on: the next server opens the registry again. */
const COLLECTION = 'registry-collection'
const KEY = 'current'
const DEFAULT_UNTAGGED_MS = 24 * 3_600_000
/** What follows the last bearer usually takes less; who asks too early is told to wait once more. */
const WORK_MS = 3_000

/**
 * Removes what nobody needs from the local registry while it is in use. No bearer that may change something is issued any more, the last one
 * runs out, manifests that nothing refers to are removed, the registry takes nothing while it removes their blobs, then all is as before.
 */
export class RegistryCollection {
  readonly #options: CollectionOptions
  readonly #interlock = new Interlock()
  #running = false

  constructor(options: CollectionOptions) {
    this.#options = options
  }

  /** Work that makes something refer to an image: it never meets the removal of images halfway. */
  sharing<T>(work: () => Promise<T>): Promise<T> {
    return this.#interlock.shared(work)
  }

  /** Begins, and tells each step. It goes on when nobody listens any more. Throws `registry-collecting` while another one runs. */
  start({ untaggedMs = DEFAULT_UNTAGGED_MS }: { untaggedMs?: number } = {}): AsyncIterable<RegistryCollectionStep> {
    if (this.#running) {
      throw new AppError('the local registry is being collected already', {
        code: 'registry-collecting',
        fault: 'user',
        hint: 'wait until it is over: about a minute',
      })
    }
    this.#running = true
    const steps = new Steps<RegistryCollectionStep>()
    void this.#run(untaggedMs, (step) => this.#tell(steps, step)).finally(() => {
      this.#running = false
      steps.end()
    })
    return steps
  }

  /** What an earlier server began and did not end is over: the registry takes pushes again. */
  async recover(): Promise<void> {
    const { documents, gate } = this.#options
    if (documents.get(COLLECTION, KEY) === undefined) return
    gate.close('', Date.now() + WORK_MS)
    try {
      await this.#reopen()
    } finally {
      gate.open()
    }
  }

  async #run(untaggedMs: number, tell: (step: RegistryCollectionStep) => void): Promise<void> {
    const { gate, documents } = this.#options
    const beganAtMs = Date.now()
    const credential = this.#options.issueCredential()
    const client = this.#options.connect(credential)
    gate.close(credential.username, gate.quietAtMs + WORK_MS)
    try {
      await documents.put(COLLECTION, KEY, { beganAtMs })
      const waitMs = Math.max(0, gate.quietAtMs - beganAtMs)
      tell({
        step: 'paused',
        detail: `no pushes are taken; the last one that may run ends in ${Math.ceil(waitMs / 1_000)} s`,
      })
      await sleep(waitMs)
      const collected = await this.#collect(client, beganAtMs - untaggedMs, tell)
      await this.#reopen()
      const result = { ...collected, pausedMs: Date.now() - beganAtMs }
      const { removedImages, freedBytes } = result
      tell({
        step: 'done',
        detail: `${removedImages} images removed, ${freedBytes} bytes freed; pushes are taken`,
        result,
      })
    } catch (thrown) {
      const { code, message } = toAppError(thrown)
      this.#options.logger.error({ err: thrown }, 'registry could not be collected')
      await this.#reopen().catch((err: unknown) => this.#options.logger.error({ err }, 'registry stays read-only'))
      tell({ step: 'failed', detail: message, code })
    } finally {
      gate.open()
      credential.end()
      await client.close()
    }
  }

  async #collect(
    client: RegistryClient,
    youngSinceMs: number,
    tell: (step: RegistryCollectionStep) => void,
  ): Promise<Omit<RegistryCollected, 'pausedMs'>> {
    const { holdings, setMode } = this.#options
    const before = await holdings()
    const { kept, removed } = await this.#interlock.exclusive(async () => {
      const verdict = divide(await readStoredImages(client, before), await this.#options.inUse(), youngSinceMs)
      await inParallel(verdict.removed, ({ repository, digest }) => client.deleteManifest(repository, digest))
      return verdict
    })
    tell({ step: 'removed', detail: `${removed.length} images that nothing refers to; ${kept.length} stay` })
    await keepBlobs(client, unfinishedBlobs(before, kept, youngSinceMs))
    tell({ step: 'collecting', detail: 'images can be pulled; their blobs are looked through' })
    await setMode('collect')
    const after = await holdings()
    const freedBytes = Math.max(0, before.blobBytes - after.blobBytes)
    return { removedImages: removed.length, keptImages: kept.length, freedBytes }
  }

  async #reopen(): Promise<void> {
    await this.#options.setMode('serve')
    await this.#options.documents.delete(COLLECTION, KEY)
  }

  #tell(steps: Steps<RegistryCollectionStep>, step: RegistryCollectionStep): void {
    this.#options.logger.info({ ...step }, 'registry collection')
    steps.add(step)
  }
}
