import { createReadStream } from 'node:fs'
import { Readable } from 'node:stream'
import { AppError } from '../common/index.ts'
import type { BuiltImage, Descriptor, Digest, RegistryClient } from '../oci/index.ts'

export interface PublishRequest {
  client: RegistryClient
  repository: string
  tag: string
  image: BuiltImage
  /** The compressed layers on this machine, by digest. */
  files: ReadonlyMap<Digest, string>
  /** The image that it stands on: its layers are taken over from its own repository where the registry has that. */
  base?: { repository: string; image: Pick<BuiltImage, 'layers'> }
}

export interface PublishResult {
  /** Sent. */
  pushedBytes: number
  /** In the repository already, or taken over from another one. */
  reusedBytes: number
}

/** Uploads at once: enough to fill a connection, few enough not to starve the registry. */
const PARALLEL = 3

/**
 * Publishes an image: the blobs that the registry lacks (mounted from another repository where possible), then the manifest by its
 * digest, and the tag last, so that at no instant a name leads to something that is not all there.
 */
export async function publishImage(request: PublishRequest): Promise<PublishResult> {
  const { client, repository, tag, image } = request
  const result: PublishResult = { pushedBytes: 0, reusedBytes: 0 }
  const queue = [...distinct(image.layers), image.config.descriptor]
  const work = async (): Promise<void> => {
    for (let blob = queue.shift(); blob !== undefined; blob = queue.shift()) {
      const sent = await publishBlob(request, blob)
      if (sent) result.pushedBytes += blob.size
      else result.reusedBytes += blob.size
    }
  }
  await Promise.all(Array.from({ length: PARALLEL }, work))
  const { descriptor, bytes } = image.manifest
  await client.putManifest(repository, descriptor.digest, descriptor.mediaType, bytes)
  await client.putManifest(repository, tag, descriptor.mediaType, bytes)
  result.pushedBytes += descriptor.size
  return result
}

function distinct(layers: readonly Descriptor[]): Descriptor[] {
  return [...new Map(layers.map((layer) => [layer.digest, layer])).values()]
}

async function publishBlob(request: PublishRequest, blob: Descriptor): Promise<boolean> {
  const { client, repository, image, files } = request
  if (await client.hasBlob(repository, blob)) return false
  if (blob === image.config.descriptor) {
    await client.uploadBlob(repository, blob, () => Readable.from([image.config.bytes]))
    return true
  }
  if (await mountFromBase(request, blob)) return false
  const file = files.get(blob.digest)
  if (file === undefined) throw new AppError(`push failed: layer ${blob.digest} is not here`, { code: 'build-failed' })
  await client.uploadBlob(repository, blob, () => createReadStream(file))
  return true
}

async function mountFromBase({ client, repository, base }: PublishRequest, blob: Descriptor): Promise<boolean> {
  if (base === undefined || base.repository === repository) return false
  if (!base.image.layers.some(({ digest }) => digest === blob.digest)) return false
  try {
    return await client.mountBlob(repository, base.repository, blob)
  } catch (thrown) {
    // Not ours to read: then it is sent like any other.
    const denied = thrown instanceof AppError && ['registry-denied', 'registry-unauthorized'].includes(thrown.code)
    if (denied) return false
    throw thrown
  }
}
