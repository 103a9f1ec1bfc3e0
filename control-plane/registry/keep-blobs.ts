import { Readable } from 'node:stream'
import { type Descriptor, digestOf, MEDIA, type RegistryClient } from '../../oci/index.ts'
import type { Holdings } from './holdings.ts'
import { KEEP_REPOSITORY } from './removable.ts'
import { inParallel } from './stored-images.ts'

const BLOBS_A_MANIFEST = 1_000
const CONFIG = Buffer.from('{}')

/**
 * Makes manifests that refer to these blobs: a push that has sent them, and could not send its manifest any more, finds them after the collection.
 * The next collection removes the manifests.
 */
export async function keepBlobs(client: RegistryClient, blobs: Holdings['layers']): Promise<void> {
  if (blobs.length === 0) return
  const config: Descriptor = { mediaType: MEDIA.ociConfig, digest: digestOf(CONFIG), size: CONFIG.length }
  await client.uploadBlob(KEEP_REPOSITORY, config, () => Readable.from([CONFIG]))
  const mounted: Descriptor[] = []
  await inParallel(blobs, async ({ repository, digest }) => {
    const layer = { mediaType: MEDIA.ociLayerGzip, digest, size: 0 }
    // A link whose blob is lost (2.8 leaves such links) cannot be mounted.
    if (await client.mountBlob(KEEP_REPOSITORY, repository, layer)) mounted.push(layer)
  })
  for (let from = 0; from < mounted.length; from += BLOBS_A_MANIFEST) {
    const layers = mounted.slice(from, from + BLOBS_A_MANIFEST)
    const manifest = { schemaVersion: 2, mediaType: MEDIA.ociManifest, config, layers }
    const bytes = Buffer.from(JSON.stringify(manifest))
    await client.putManifest(KEEP_REPOSITORY, digestOf(bytes), MEDIA.ociManifest, bytes)
  }
}
