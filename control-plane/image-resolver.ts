import type { Version } from '../api/index.ts'
import { AppError } from '../common/index.ts'
import {
  formatReference,
  loadImage,
  machinePlatform,
  parseDigest,
  type Reference,
  RegistryClient,
} from '../oci/index.ts'
import type { ImageResolver } from './ports.ts'
import type { LookCredential } from './pull-credentials.ts'
import type { ImagePlace } from './pull-rights.ts'

export interface RegistryResolverOptions {
  /** Where the credential for this one look comes from. */
  credentials: (registry: string, repository: string, signal: AbortSignal) => Promise<LookCredential>
  /** Our own grants. Throws `image-not-allowed` when functions of the namespace may not run images of the repository. */
  requireRight: (namespace: string, image: ImagePlace) => void
  /** Compressed size of all blobs. Default 10 GiB. */
  maxImageBytes?: number
  /** Longest wait for the registry. Default 60,000 ms. */
  timeoutMs?: number
}

const DEFAULT_MAX_IMAGE_BYTES = 10 * 1024 ** 3

/** Asks the registry itself: tag to digest, index to this machine's manifest, configuration and layers checked, nothing downloaded. */
export function registryImageResolver(options: RegistryResolverOptions): ImageResolver {
  const { credentials, requireRight, maxImageBytes = DEFAULT_MAX_IMAGE_BYTES, timeoutMs = 60_000 } = options
  return {
    async resolve(reference, namespace, caller) {
      const { registry, repository } = reference
      requireRight(namespace, reference)
      const signal = AbortSignal.any([caller, AbortSignal.timeout(timeoutMs)])
      const look = await credentials(registry, repository, signal)
      const client = new RegistryClient({ registry, credential: look.credential, signal })
      try {
        const pointed = await client.resolve(reference)
        const image = await loadImage(client, repository, pointed, machinePlatform())
        if (image.sizeBytes > maxImageBytes) throw tooLarge(reference, image.sizeBytes, maxImageBytes)
        return pinned(reference, pointed.descriptor.digest, image.descriptor.digest, image.sizeBytes)
      } finally {
        await client.close()
        look.end()
      }
    },
  }
}

function pinned(
  { registry, repository, tag }: Reference,
  digest: string,
  platformDigest: string,
  sizeBytes: number,
): Version['image'] {
  return {
    registry,
    repository,
    ...(tag === undefined ? {} : { tag }),
    digest: parseDigest(digest),
    platformDigest: parseDigest(platformDigest),
    sizeBytes,
  }
}

function tooLarge(reference: Reference, sizeBytes: number, maxBytes: number): AppError {
  const megabytes = (bytes: number): string => `${Math.ceil(bytes / 1024 ** 2)} MB`
  return new AppError(
    `image ${formatReference(reference)} has ${megabytes(sizeBytes)}, at most ${megabytes(maxBytes)} may be deployed`,
    {
      code: 'image-too-large',
      fault: 'user',
      hint: 'use a smaller base image, or clean up in the step that makes the files',
    },
  )
}
