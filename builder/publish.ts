import { createReadStream } from 'node:fs'
import { Readable } from 'node:stream'
import { AppError } from '../common/index.ts'
import {
  type BuiltImage,
  type Descriptor,
  type Digest,
  RegistryClient,
  type RegistryClientOptions,
} from '../oci/index.ts'
import type { BaseImage } from './base-image.ts'

export interface PublishRequest {
  client: RegistryClient
  repository: string
  tag: string
  image: BuiltImage
  /** The compressed layers on this machine, by digest. */
  files: ReadonlyMap<Digest, string>
  /** The image that it stands on: its layers are taken over from its own repository where the registry has that. */
  base?: {
    repository: string
    image: Pick<BuiltImage, 'layers'>
    /** Puts the base into its own repository, where that lacks it; asked once. Answers the bytes sent, undefined when it may not. */
    publish?: () => Promise<number | undefined>
  }
}

/** How a base's layers came into the repository: were there, were taken over from the base's own, which first had to get them, or had to be sent. */
export type BaseOutcome = 'there' | 'mounted' | 'published' | 'sent'

export interface PublishResult {
  /** Sent, to whichever repository. */
  pushedBytes: number
  /** In the repository already, or taken over from another one. */
  reusedBytes: number
  /** Of the layers of the base, what cost most. */
  base: BaseOutcome
}

/** Uploads at once: enough to fill a connection, few enough not to starve the registry. */
const PARALLEL = 3
/** From what costs nothing to what costs most. */
const OUTCOMES: readonly BaseOutcome[] = ['there', 'mounted', 'published', 'sent']

/**
 * Publishes an image: the blobs that the registry lacks (mounted from another repository where possible), then the manifest by its
 * digest, and the tag last, so that at no instant a name leads to something that is not all there.
 */
export async function publishImage(request: PublishRequest): Promise<PublishResult> {
  const { client, repository, tag, image, base } = request
  const result: PublishResult = { pushedBytes: 0, reusedBytes: 0, base: 'there' }
  const baseLayers = new Set(base?.image.layers.map(({ digest }) => digest))
  let publishing: Promise<number | undefined> | undefined
  const publishOnce = async (): Promise<boolean> => {
    publishing ??= (base?.publish?.() ?? Promise.resolve(undefined)).then((sent) => {
      result.pushedBytes += sent ?? 0
      return sent
    })
    return (await publishing) !== undefined
  }
  const queue = [...distinct(image.layers), image.config.descriptor]
  const work = async (): Promise<void> => {
    for (let blob = queue.shift(); blob !== undefined; blob = queue.shift()) {
      const outcome = await publishBlob(request, blob, baseLayers.has(blob.digest) ? publishOnce : undefined)
      if (outcome === 'sent') result.pushedBytes += blob.size
      else result.reusedBytes += blob.size
      if (baseLayers.has(blob.digest)) result.base = costlier(result.base, outcome)
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

function costlier(one: BaseOutcome, other: BaseOutcome): BaseOutcome {
  return OUTCOMES.indexOf(one) < OUTCOMES.indexOf(other) ? other : one
}

/** `publishBase` for a blob of the base: tries to have it where it can be mounted from. */
async function publishBlob(
  request: PublishRequest,
  blob: Descriptor,
  publishBase: (() => Promise<boolean>) | undefined,
): Promise<BaseOutcome> {
  const { client, repository, image, files } = request
  if (await client.hasBlob(repository, blob)) return 'there'
  if (blob === image.config.descriptor) {
    await client.uploadBlob(repository, blob, () => Readable.from([image.config.bytes]))
    return 'sent'
  }
  if (publishBase !== undefined) {
    if (await mountFromBase(request, blob)) return 'mounted'
    if ((await publishBase()) && (await mountFromBase(request, blob))) return 'published'
  }
  const file = files.get(blob.digest)
  if (file === undefined) throw new AppError(`push failed: layer ${blob.digest} is not here`, { code: 'build-failed' })
  await client.uploadBlob(repository, blob, () => createReadStream(file))
  return 'sent'
}

async function mountFromBase({ client, repository, base }: PublishRequest, blob: Descriptor): Promise<boolean> {
  if (base === undefined || base.repository === repository) return false
  try {
    return await client.mountBlob(repository, base.repository, blob)
  } catch (thrown) {
    if (isDenied(thrown)) return false // not ours to read: then it is sent like any other
    throw thrown
  }
}

/** Puts a base into its own repository, from which all images that stand on it mount its layers. Undefined when the credential may not. */
export async function publishBase(base: BaseImage, options: RegistryClientOptions): Promise<number | undefined> {
  const client = new RegistryClient(options)
  try {
    const { repository, image, files } = base
    return (await publishImage({ client, repository, tag: 'latest', image, files })).pushedBytes
  } catch (thrown) {
    if (isDenied(thrown)) return undefined
    throw thrown
  } finally {
    await client.close()
  }
}

function isDenied(thrown: unknown): boolean {
  return thrown instanceof AppError && ['registry-denied', 'registry-unauthorized'].includes(thrown.code)
}
