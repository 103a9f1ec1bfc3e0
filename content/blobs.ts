import { readFileSync } from 'node:fs'
import { errnoOf, writeFileAtomic } from '../common/index.ts'
import { type Digest, digestOf } from '../oci/index.ts'
import { blobPath, type ContentLayout, isThere } from './layout.ts'

export function storeBlob(layout: ContentLayout, digest: Digest, bytes: Uint8Array): void {
  const path = blobPath(layout, digest)
  if (!isThere(path)) writeFileAtomic(path, bytes)
}

/** The bytes, or undefined when they are not here or not those of the digest any more. */
export function readBlob(layout: ContentLayout, digest: Digest): Buffer | undefined {
  try {
    const bytes = readFileSync(blobPath(layout, digest))
    return digestOf(bytes) === digest ? bytes : undefined
  } catch (thrown) {
    if (errnoOf(thrown) === 'ENOENT') return undefined
    throw thrown
  }
}
