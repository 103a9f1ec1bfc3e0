import type { Digest, ImageConfig } from '../oci/index.ts'
import type { Credential } from '../registry-auth/index.ts'

/** What is to be made local: one platform's manifest, or an index that leads to one, by digest. */
export interface PullRequest {
  /** `127.0.0.1:5000` */
  registry: string
  repository: string
  digest: Digest
  /** For this download only. */
  credential: Credential
  /** Overall bound; at it the pull fails with `pull-timeout`. */
  deadlineMs: number
}

/** An image whose layers all lie unpacked on this machine. */
export interface LocalImage {
  /** Digest of the platform's manifest. */
  manifestDigest: Digest
  config: ImageConfig
  /** Compressed size of all blobs. */
  sizeBytes: number
  /** Directories of the unpacked layers, lowest first: overlay `lowerdir` is this list turned round. At least two, as overlayfs wants: an empty one below a single layer. */
  layerDirectories: string[]
}

export interface PullResult {
  image: LocalImage
  /** False when everything was local already: nothing was asked of the registry. */
  pulled: boolean
  downloadedBytes: number
  /** Wall time of fetching and of unpacking; they overlap. */
  pullMs: number
  unpackMs: number
}

export interface Lease {
  release(): void
}

/** What this machine holds of images. Made by `openContentStore(directory, …)`; safe for several processes on one directory. */
export interface ContentStore {
  /** The image if every layer is local, without any network. */
  find(digest: Digest): Promise<LocalImage | undefined>
  /** Makes the image local; callers that ask for the same digest share one download. Refuses with `pull-failed`, `pull-timeout`, `image-unsupported`, `digest-mismatch`, `disk-full`. */
  pull(request: PullRequest, signal?: AbortSignal): Promise<PullResult>
  /** Protects the image's layers and blobs from collection while it is held. `owner` names who (an instance id, a build); survives our crash as a file until `releaseOwner`. */
  lease(digest: Digest, owner: string): Promise<Lease>
  releaseOwner(owner: string): void
  /** Names of all owners that hold leases, for clean-up of those that are gone. */
  owners(): string[]
  /** Removes what nobody leases: oldest use first, until at most `maxBytes` remain; nothing younger than `minAgeMs`. */
  collect(limits: { maxBytes: number; minAgeMs: number }): Promise<{ removedBytes: number; removedLayers: number }>
  close(): Promise<void>
}
