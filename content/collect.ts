import { readdirSync, rmSync, statSync } from 'node:fs'
import type { Digest } from '../oci/index.ts'
import { type CollectLimits, type Holdings, planRemoval } from './collect-plan.ts'
import { allRecords, recordPath, type StoredRecord } from './image-record.ts'
import { isLayerName, readLayerRecord } from './layer-record.ts'
import { blobPath, type ContentLayout, layerPath } from './layout.ts'
import { allLeases } from './leases.ts'
import { withLock } from './lock.ts'
import { layersBeingPulled } from './pulls.ts'
import { emptyTrash, moveToTrash } from './trash.ts'

/** Decides and hides under the lock, which takes milliseconds; what was hidden is then removed from disk, which may take seconds. */
export async function collect(
  layout: ContentLayout,
  limits: CollectLimits,
): Promise<{ removedBytes: number; removedLayers: number }> {
  const removal = await withLock(layout, () => {
    const records = allRecords(layout)
    const decided = planRemoval(holdingsOf(layout, records), limits, Date.now())
    forgetImages(layout, records, new Set(decided.images))
    for (const name of decided.layers) moveToTrash(layout, layerPath(layout, name))
    return decided
  })
  emptyTrash(layout)
  return { removedBytes: removal.bytes, removedLayers: removal.layers.length }
}

function holdingsOf(layout: ContentLayout, records: readonly StoredRecord[]): Holdings {
  const leased = new Set<string>(allLeases(layout).map(({ digest }) => digest))
  for (const { digest, record } of records) {
    if (record.kind === 'index' && leased.has(digest)) leased.add(record.manifest)
  }
  return {
    images: records.flatMap(({ digest, record, lastUsedMs }) =>
      record.kind === 'image'
        ? [{ id: digest, layers: [...record.layers, ...record.sources], lastUsedMs, isLeased: leased.has(digest) }]
        : [],
    ),
    layers: new Map(
      readdirSync(layout.layers)
        .filter(isLayerName)
        .map((name) => [
          name,
          {
            sizeBytes: readLayerRecord(layout, name)?.sizeBytes ?? 0,
            lastUsedMs: statSync(layerPath(layout, name)).mtimeMs,
          },
        ]),
    ),
    pulling: layersBeingPulled(layout),
  }
}

/** The record goes first: from then on the image is not found. Blobs that another image has too stay. */
function forgetImages(layout: ContentLayout, records: readonly StoredRecord[], removed: ReadonlySet<string>): void {
  const isGone = ({ record }: StoredRecord): boolean => removed.has(record.manifest)
  const kept = new Set(records.filter((stored) => !isGone(stored)).flatMap(blobsOf))
  for (const stored of records.filter(isGone)) {
    rmSync(recordPath(layout, stored.digest), { force: true })
    for (const digest of blobsOf(stored)) if (!kept.has(digest)) rmSync(blobPath(layout, digest), { force: true })
  }
}

function blobsOf({ digest, record }: StoredRecord): Digest[] {
  return record.kind === 'image' ? [digest, record.config as Digest] : [digest]
}
