import type { Version } from '../../api/index.ts'
import type { Digest } from '../../oci/index.ts'
import type { Holdings } from './holdings.ts'
import { key, type StoredImage } from './stored-images.ts'

/** Repository of the manifests that hold the blobs of unfinished pushes through a collection. No namespace can have the name. */
export const KEEP_REPOSITORY = 'slipway_keep/pushes'

export interface InUse {
  /** Of functions, of what runs, and of jobs that wait, whatever registry they name. */
  versions: readonly Version[]
  /** Of running instances. */
  digests: readonly string[]
}

export interface Verdict {
  kept: StoredImage[]
  removed: StoredImage[]
}

/**
 * What has to stay: what a tag names, what a version or an instance uses, and what was pushed at `youngSinceMs` or later; then what these lead to,
 * and what says something about them (signatures). All else is removed.
 */
export function divide(images: readonly StoredImage[], inUse: InUse, youngSinceMs: number): Verdict {
  const byKey = new Map(images.map((image) => [key(image.repository, image.digest), image]))
  const used = new Set(inUse.versions.flatMap((version) => keysOf(version)))
  const running = new Set(inUse.digests)
  const kept = new Set<StoredImage>()
  const keep = (image: StoredImage | undefined): void => {
    if (image === undefined || kept.has(image)) return
    kept.add(image)
    for (const child of image.children) keep(byKey.get(key(image.repository, child)))
  }
  for (const image of images) {
    const name = key(image.repository, image.digest)
    const isYoung = image.pushedAtMs >= youngSinceMs && image.repository !== KEEP_REPOSITORY
    if (image.tags.length > 0 || used.has(name) || running.has(image.digest) || isYoung) keep(image)
  }
  for (let before = -1; before !== kept.size; ) {
    before = kept.size
    for (const image of images) {
      const subject = image.subject === undefined ? undefined : byKey.get(key(image.repository, image.subject))
      if (subject !== undefined && kept.has(subject)) keep(image)
    }
  }
  return { kept: [...kept], removed: images.filter((image) => !kept.has(image)) }
}

/** Blobs that were taken in at `youngSinceMs` or later and that nothing refers to yet: pushes are not finished. */
export function unfinishedBlobs(
  holdings: Holdings,
  kept: readonly StoredImage[],
  youngSinceMs: number,
): Holdings['layers'] {
  const referred = new Set<Digest>(kept.flatMap(({ blobs }) => [...blobs.keys()]))
  const young = holdings.layers.filter(
    ({ repository, digest, takenAtMs }) =>
      repository !== KEEP_REPOSITORY && takenAtMs >= youngSinceMs && !referred.has(digest),
  )
  return [...new Map(young.map((layer) => [layer.digest, layer])).values()]
}

/** Compressed size of everything that the image leads to, each blob once. */
export function sizeOf(image: StoredImage, images: ReadonlyMap<string, StoredImage>): number {
  const blobs = new Map<Digest, number>()
  const add = (part: StoredImage): void => {
    if (blobs.has(part.digest)) return
    blobs.set(part.digest, part.bytes)
    for (const [digest, size] of part.blobs) blobs.set(digest, size)
    for (const child of part.children) {
      const found = images.get(key(part.repository, child))
      if (found !== undefined) add(found)
    }
  }
  add(image)
  return [...blobs.values()].reduce((total, size) => total + size, 0)
}

function keysOf({ image: { repository, digest, platformDigest } }: Version): string[] {
  return [key(repository, digest), key(repository, platformDigest)]
}
