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
import type { CredentialSource } from '../registry-auth/index.ts'
import type { ImageResolver } from './ports.ts'

export interface RegistryResolverOptions {
  /** Where the credential for this one look comes from. */
  credentials: CredentialSource
  /** Our own grants: whether functions of the namespace may run images of the repository. */
  mayPull: (namespace: string, registry: string, repository: string) => boolean
  /** Compressed size of all blobs. Default 10 GiB. */
  maxImageBytes?: number
  /** Longest wait for the registry. Default 60,000 ms. */
  timeoutMs?: number
}

const DEFAULT_MAX_IMAGE_BYTES = 10 * 1024 ** 3

/** Asks the registry itself: tag to digest, index to this machine's manifest, configuration and layers checked, nothing downloaded. */
export function registryImageResolver(options: RegistryResolverOptions): ImageResolver {
  const { credentials, mayPull, maxImageBytes = DEFAULT_MAX_IMAGE_BYTES, timeoutMs = 60_000 } = options
  return {
    async resolve(reference, namespace, caller) {
      const { registry, repository } = reference
      if (!mayPull(namespace, registry, repository)) throw notAllowed(reference, namespace)
      const signal = AbortSignal.any([caller, AbortSignal.timeout(timeoutMs)])
      const credential = await credentials.for(registry, repository, 'pull', signal)
      const client = new RegistryClient({ registry, credential, signal })
      try {
        const pointed = await client.resolve(reference)
        const image = await loadImage(client, repository, pointed, machinePlatform())
        if (image.sizeBytes > maxImageBytes) throw tooLarge(reference, image.sizeBytes, maxImageBytes)
        return pinned(reference, pointed.descriptor.digest, image.descriptor.digest, image.sizeBytes)
      } finally {
        await client.close()
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

function notAllowed(reference: Reference, namespace: string): AppError {
  return new AppError(`namespace ${namespace} may not run images of ${reference.registry}/${reference.repository}`, {
    code: 'image-not-allowed',
    fault: 'user',
    hint: `images of the namespace lie below ${namespace}/`,
  })
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
