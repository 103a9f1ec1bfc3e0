import { AppError } from '../../common/index.ts'
import { type Digest, parseDigest, type RegistryClient } from '../../oci/index.ts'
import type { Holdings } from './holdings.ts'

/** One manifest or index of the local registry, as far as it decides what has to stay. */
export interface StoredImage {
  repository: string
  digest: Digest
  mediaType: string
  /** Of the manifest itself. */
  bytes: number
  pushedAtMs: number
  tags: string[]
  /** Configuration and layers, with their sizes. */
  blobs: ReadonlyMap<Digest, number>
  /** Of an index: the manifests that it leads to, in the same repository. */
  children: readonly Digest[]
  /** What it says something about: a signature's image. */
  subject: Digest | undefined
}

const PARALLEL = 4

/** Reads every manifest that the registry holds. One whose bytes are lost is left out: nothing can be started from it. */
export async function readStoredImages(client: RegistryClient, holdings: Holdings): Promise<StoredImage[]> {
  const images = new Map<string, StoredImage>()
  await inParallel(holdings.manifests, async ({ repository, digest, pushedAtMs }) => {
    const found = await ifFound(client.readManifest(repository, digest))
    if (found === undefined) return
    const { mediaType, size } = found.descriptor
    const links = linksOf(found.bytes)
    images.set(key(repository, digest), { repository, digest, mediaType, bytes: size, pushedAtMs, tags: [], ...links })
  })
  await inParallel(holdings.tags, async ({ repository, tag }) => {
    const found = await ifFound(client.readManifest(repository, tag))
    if (found !== undefined) images.get(key(repository, found.descriptor.digest))?.tags.push(tag)
  })
  return [...images.values()]
}

export function key(repository: string, digest: string): string {
  return `${repository}@${digest}`
}

/** What a manifest leads to, whatever its kind: read leniently, since what is overlooked here would be removed. */
function linksOf(bytes: Buffer): Pick<StoredImage, 'blobs' | 'children' | 'subject'> {
  let document: unknown
  try {
    document = JSON.parse(bytes.toString('utf8'))
  } catch {
    document = undefined
  }
  const { config, layers, manifests, subject } = fields(document)
  const blobs = [config, ...list(layers)].map(descriptor).filter((found) => found !== undefined)
  return {
    blobs: new Map(blobs.map(({ digest, size }) => [digest, size])),
    children: list(manifests).flatMap((entry) => descriptor(entry)?.digest ?? []),
    subject: descriptor(subject)?.digest,
  }
}

function descriptor(value: unknown): { digest: Digest; size: number } | undefined {
  const { digest, size } = fields(value)
  if (typeof digest !== 'string' || !/^sha256:[0-9a-f]{64}$/.test(digest)) return undefined
  return { digest: parseDigest(digest), size: typeof size === 'number' && size > 0 ? size : 0 }
}

function fields(value: unknown): Record<string, unknown> {
  return typeof value === 'object' && value !== null ? { ...value } : {}
}

function list(value: unknown): unknown[] {
  return Array.isArray(value) ? value : []
}

async function ifFound<T>(asked: Promise<T>): Promise<T | undefined> {
  try {
    return await asked
  } catch (thrown) {
    if (thrown instanceof AppError && thrown.code === 'image-not-found') return undefined
    throw thrown
  }
}

export async function inParallel<T>(items: readonly T[], work: (item: T) => Promise<void>): Promise<void> {
  const queue = [...items]
  const worker = async (): Promise<void> => {
    for (let item = queue.pop(); item !== undefined; item = queue.pop()) await work(item)
  }
  await Promise.all(Array.from({ length: PARALLEL }, worker))
}
