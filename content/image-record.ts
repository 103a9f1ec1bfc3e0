import { readdirSync, readFileSync, statSync, utimesSync } from 'node:fs'
import { join } from 'node:path'
import { errnoOf, fits, type Static, Type, writeFileAtomic } from '../common/index.ts'
import { type Digest, digestHex } from '../oci/index.ts'
import type { ContentLayout } from './layout.ts'

const DigestText = Type.String({ pattern: '^sha256:[0-9a-f]{64}$' })
const Image = Type.Object({
  version: Type.Literal(1),
  kind: Type.Literal('image'),
  manifest: DigestText,
  config: DigestText,
  /** Compressed size of all blobs. */
  sizeBytes: Type.Integer({ minimum: 0 }),
  /** Names of the layer directories as an overlay takes them, lowest first. */
  layers: Type.Array(Type.String({ pattern: '^(?:in-|top-)?[0-9a-f]{64}$' }), { maxItems: 500 }),
  /** Every layer that the image is made of; those not in `layers` are needed to make them again. */
  sources: Type.Array(Type.String({ pattern: '^[0-9a-f]{64}$' }), { maxItems: 500 }),
})
const Alias = Type.Object({ version: Type.Literal(1), kind: Type.Literal('index'), manifest: DigestText })
const Record = Type.Union([Image, Alias])

export type ImageRecord = Static<typeof Image>
/** What an index led to on this machine's platform. */
export type AliasRecord = Static<typeof Alias>

export function recordPath(layout: ContentLayout, digest: Digest): string {
  return join(layout.images, `${digestHex(digest)}.json`)
}

export function writeRecord(layout: ContentLayout, digest: Digest, record: ImageRecord | AliasRecord): void {
  writeFileAtomic(recordPath(layout, digest), JSON.stringify(record))
}

export function readRecord(layout: ContentLayout, digest: Digest): ImageRecord | AliasRecord | undefined {
  try {
    const value: unknown = JSON.parse(readFileSync(recordPath(layout, digest), 'utf8'))
    return fits(Record, value) ? value : undefined
  } catch (thrown) {
    if (errnoOf(thrown) === 'ENOENT' || thrown instanceof SyntaxError) return undefined
    throw thrown
  }
}

/** The image that a digest stands for: its manifest's record, found through an index where it is one. */
export function resolveRecord(layout: ContentLayout, digest: Digest): ImageRecord | undefined {
  const record = readRecord(layout, digest)
  if (record?.kind !== 'index') return record
  const target = readRecord(layout, record.manifest as Digest)
  return target?.kind === 'image' ? target : undefined
}

/** Notes a use now. A record that is gone is nobody's concern. */
export function touchRecord(layout: ContentLayout, digest: Digest): void {
  const now = new Date()
  try {
    utimesSync(recordPath(layout, digest), now, now)
  } catch (thrown) {
    if (errnoOf(thrown) !== 'ENOENT') throw thrown
  }
}

export interface StoredRecord {
  digest: Digest
  record: ImageRecord | AliasRecord
  lastUsedMs: number
}

export function allRecords(layout: ContentLayout): StoredRecord[] {
  return readdirSync(layout.images).flatMap((file): StoredRecord[] => {
    const hex = /^([0-9a-f]{64})\.json$/.exec(file)?.[1]
    if (hex === undefined) return []
    const digest: Digest = `sha256:${hex}`
    const record = readRecord(layout, digest)
    return record === undefined ? [] : [{ digest, record, lastUsedMs: statSync(join(layout.images, file)).mtimeMs }]
  })
}
