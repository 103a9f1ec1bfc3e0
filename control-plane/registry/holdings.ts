import { AppError } from '../../common/index.ts'
import { type Digest, parseDigest } from '../../oci/index.ts'

/** What the local registry has on its disk, as the list of its files tells: untagged manifests too, which its API does not name. */
export interface Holdings {
  manifests: { repository: string; digest: Digest; pushedAtMs: number }[]
  tags: { repository: string; tag: string }[]
  /** Blobs that a repository has taken in: by upload or mount, whether or not a manifest refers to them. */
  layers: { repository: string; digest: Digest; takenAtMs: number }[]
  blobs: number
  blobBytes: number
}

const MAX_FILES = 2_000_000
const LINE = /^docker\/registry\/v2\/(.+) ([0-9]{1,16}) ([0-9]{1,12})(?:\.[0-9]+)?$/
const MANIFEST = /^repositories\/(.+)\/_manifests\/revisions\/sha256\/([0-9a-f]{64})\/link$/
const TAG = /^repositories\/(.+)\/_manifests\/tags\/([A-Za-z0-9_][A-Za-z0-9._-]{0,127})\/current\/link$/
const LAYER = /^repositories\/(.+)\/_layers\/sha256\/([0-9a-f]{64})\/link$/
const BLOB = /^blobs\/sha256\/[0-9a-f]{2}\/[0-9a-f]{64}\/data$/

/** Reads lines `PATH BYTES SECONDS`. What is none of the four kinds is left out. Throws `registry-error` for more than two million. */
export async function readHoldings(lines: AsyncIterable<string>): Promise<Holdings> {
  const holdings: Holdings = { manifests: [], tags: [], layers: [], blobs: 0, blobBytes: 0 }
  let files = 0
  for await (const line of lines) {
    files += 1
    if (files > MAX_FILES) {
      throw new AppError(`the local registry holds more than ${MAX_FILES} files`, {
        code: 'registry-error',
        hint: 'remove repositories that nobody uses any more',
      })
    }
    take(holdings, line)
  }
  return holdings
}

function take(holdings: Holdings, line: string): void {
  const [, path = '', bytes, seconds] = LINE.exec(line) ?? []
  const atMs = Number(seconds) * 1_000
  if (BLOB.test(path)) {
    holdings.blobs += 1
    holdings.blobBytes += Number(bytes)
    return
  }
  const [, tagged, tag] = TAG.exec(path) ?? []
  if (tagged !== undefined && tag !== undefined) holdings.tags.push({ repository: tagged, tag })
  const [, repository, revision] = MANIFEST.exec(path) ?? []
  if (repository !== undefined) holdings.manifests.push({ repository, digest: digest(revision), pushedAtMs: atMs })
  const [, holder, layer] = LAYER.exec(path) ?? []
  if (holder !== undefined) holdings.layers.push({ repository: holder, digest: digest(layer), takenAtMs: atMs })
}

function digest(hex = ''): Digest {
  return parseDigest(`sha256:${hex}`)
}
