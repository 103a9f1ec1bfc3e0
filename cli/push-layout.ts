import { createReadStream } from 'node:fs'
import { open } from 'node:fs/promises'
import { join } from 'node:path'
import { AppError, errnoOf } from '../common/index.ts'
import {
  type Descriptor,
  type Digest,
  digestHex,
  digestOf,
  type Index,
  MAX_MANIFEST_BYTES,
  MEDIA,
  parseDigest,
  parseManifest,
  type RegistryClient,
} from '../oci/index.ts'

export interface PushedLayout {
  digest: Digest
  sizeBytes: number
  pushedBytes: number
  reusedBytes: number
}

const REF_NAME = 'org.opencontainers.image.ref.name'

/**
 * Publishes an OCI image layout (image-spec image-layout.md): the blobs that the registry lacks, then manifests by digest, the tag
 * last. `ref` chooses among several images by their `org.opencontainers.image.ref.name`. Throws `layout-invalid`.
 */
export async function pushLayout(
  client: RegistryClient,
  directory: string,
  target: { repository: string; tag: string; ref?: string },
): Promise<PushedLayout> {
  const bytes = await readBounded(join(directory, 'index.json'))
  const document = parseManifest(bytes, MEDIA.ociIndex, `index.json of ${directory}`)
  if (document.kind !== 'index') throw invalid(directory, 'its index.json is no index')
  const root = choose(document.index, directory, target.ref)
  const result = { digest: root.digest, sizeBytes: 0, pushedBytes: 0, reusedBytes: 0 }
  const manifest = await pushTree({ client, directory, repository: target.repository, result }, root, 0)
  await client.putManifest(target.repository, target.tag, root.mediaType, manifest)
  return result
}

interface Push {
  client: RegistryClient
  directory: string
  repository: string
  result: PushedLayout
}

/** Everything below a manifest or index, then itself by its digest. Answers its bytes. */
async function pushTree(push: Push, descriptor: Descriptor, depth: number): Promise<Buffer> {
  if (depth > 3) throw invalid(push.directory, 'its indexes are nested too deeply')
  const bytes = await readBounded(blobPath(push.directory, descriptor.digest))
  if (digestOf(bytes) !== descriptor.digest)
    throw invalid(push.directory, `blob ${descriptor.digest} is not what its name says`)
  const document = parseManifest(bytes, descriptor.mediaType, `manifest ${descriptor.digest}`)
  if (document.kind === 'index') {
    for (const child of document.index.manifests) await pushTree(push, child, depth + 1)
  } else {
    for (const blob of [...document.manifest.layers, document.manifest.config]) await pushBlob(push, blob)
  }
  await push.client.putManifest(push.repository, descriptor.digest, descriptor.mediaType, bytes)
  push.result.sizeBytes += bytes.length
  push.result.pushedBytes += bytes.length
  return bytes
}

async function pushBlob({ client, directory, repository, result }: Push, blob: Descriptor): Promise<void> {
  result.sizeBytes += blob.size
  if (await client.hasBlob(repository, blob)) {
    result.reusedBytes += blob.size
    return
  }
  const path = blobPath(directory, blob.digest)
  const file = await open(path).catch((cause: unknown) => {
    throw invalid(directory, `blob ${blob.digest} is missing`, cause)
  })
  const { size } = await file.stat()
  await file.close()
  if (size !== blob.size) throw invalid(directory, `blob ${blob.digest} has ${size} bytes instead of ${blob.size}`)
  await client.uploadBlob(repository, blob, () => createReadStream(path))
  result.pushedBytes += blob.size
}

function choose(index: Index, directory: string, ref: string | undefined): Descriptor {
  const named =
    ref === undefined ? index.manifests : index.manifests.filter((one) => one.annotations?.[REF_NAME] === ref)
  const [only] = named
  if (only !== undefined && named.length === 1) return only
  const names = index.manifests.map((one) => one.annotations?.[REF_NAME] ?? one.digest)
  throw invalid(
    directory,
    `it has ${named.length} images${ref === undefined ? '' : ` named ${ref}`}: ${names.slice(0, 20).join(', ')}`,
  )
}

/** The digest is checked before it becomes part of a path. */
function blobPath(directory: string, digest: string): string {
  return join(directory, 'blobs', 'sha256', digestHex(parseDigest(digest)))
}

async function readBounded(path: string): Promise<Buffer> {
  const file = await open(path).catch((cause: unknown) => {
    throw invalid(path, errnoOf(cause) === 'ENOENT' ? 'it is missing' : 'it cannot be read', cause)
  })
  try {
    const { size } = await file.stat()
    if (size > MAX_MANIFEST_BYTES) throw invalid(path, `it has ${size} bytes`)
    return await file.readFile()
  } finally {
    await file.close()
  }
}

function invalid(path: string, why: string, cause?: unknown): AppError {
  return new AppError(`${path} is no OCI image layout that can be pushed: ${why}`, {
    code: 'layout-invalid',
    fault: 'user',
    hint: 'an OCI layout has index.json and blobs/sha256; --ref chooses among several images',
    cause,
  })
}
