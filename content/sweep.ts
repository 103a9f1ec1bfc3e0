import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { bootId, isAlive, run } from '../common/index.ts'
import { isDurable, isLayerName, markDurable, readLayerRecord } from './layer-record.ts'
import { type ContentLayout, layerPath, parseStamp } from './layout.ts'
import { layersBeingPulled } from './pulls.ts'
import { removeTree } from './remove-tree.ts'
import { toByteString } from './tar-entry.ts'
import { moveToTrash } from './trash.ts'

/** Hides layers of an earlier boot that are not known to have reached the disk before it ended: they may have holes. Called under the lock. */
export function dropUncertainLayers(layout: ContentLayout): void {
  const boot = bootId()
  for (const name of readdirSync(layout.layers)) {
    const isWhole = isLayerName(name) && (isDurable(layout, name) || readLayerRecord(layout, name)?.bootId === boot)
    if (!isWhole) moveToTrash(layout, layerPath(layout, name))
  }
}

/** Removes the unfinished work of processes that are gone, and their notes of pulls. */
export function sweepWork(layout: ContentLayout): void {
  layersBeingPulled(layout)
  for (const name of readdirSync(layout.work)) {
    const owner = parseStamp(name)
    if (owner === undefined || !isAlive(owner)) removeTree(toByteString(join(layout.work, name)))
  }
}

/**
 * Waits until everything written so far is on the disk, then says so of each layer that was there before. A pull does not wait for it: within one boot a crash
 * of processes loses nothing that was written, and after a boot only marked layers count.
 */
export async function makeDurable(layout: ContentLayout): Promise<void> {
  const fresh = readdirSync(layout.layers).filter((name) => isLayerName(name) && !isDurable(layout, name))
  if (fresh.length === 0) return
  await run('sync', ['-f', layout.layers], { timeoutMs: 600_000 })
  for (const name of fresh) {
    try {
      markDurable(layout, name)
    } catch {
      // collected meanwhile
    }
  }
}
