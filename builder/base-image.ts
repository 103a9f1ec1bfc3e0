import { randomBytes } from 'node:crypto'
import type { Logger } from '../common/index.ts'
import { openContentStore } from '../content/index.ts'
import type { BuiltImage, Digest, ImageConfig, Manifest } from '../oci/index.ts'

/** The image that a source function stands on, as this machine holds it. */
export interface BaseImage {
  /** `node26` */
  runtime: string
  /** Its repository in a registry that has it, so that its blobs can be mounted from there. */
  repository: string
  digest: Digest
  image: BuiltImage
  manifest: Manifest
  config: ImageConfig
  /** Compressed layers by digest. */
  files: ReadonlyMap<Digest, string>
}

/** A base's layers as directories of this machine's content store, lowest first, kept from collection until `close`. */
export interface OpenBase {
  layers: readonly string[]
  close(): Promise<void>
}

/** Opens the base in the content store below `directory`; its layers are added from their files where functions did not bring them yet. */
export async function openBase(
  base: BaseImage,
  directory: string,
  logger: Logger,
  signal: AbortSignal,
): Promise<OpenBase> {
  const store = await openContentStore(directory, { logger })
  const owner = `build-${randomBytes(8).toString('hex')}`
  const close = async (): Promise<void> => {
    store.releaseOwner(owner)
    await store.close()
  }
  try {
    await store.lease(base.digest, owner)
    const manifest = base.image.manifest.bytes.toString('utf8')
    const config = base.image.config.bytes.toString('utf8')
    const added = await store.add({ manifest, config, files: Object.fromEntries(base.files) }, signal)
    return { layers: added.layerDirectories, close }
  } catch (thrown) {
    await close()
    throw thrown
  }
}
