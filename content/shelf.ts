import { randomBytes } from 'node:crypto'
import { mkdirSync, renameSync } from 'node:fs'
import { join } from 'node:path'
import { errnoOf } from '../common/index.ts'
import type { LayerShelf } from './compose.ts'
import { hasLayer, type LayerRecord, readLayerRecord, writeLayerRecord } from './layer-record.ts'
import { type ContentLayout, layerPath, layerTree, ownerStamp } from './layout.ts'
import { removeTree } from './remove-tree.ts'
import { type ByteString, toByteString } from './tar-entry.ts'
import type { LayerNotes } from './unpack-finish.ts'

type NewLayer = Omit<LayerRecord, 'version' | 'bootId'>

/**
 * Makes a layer in a work directory of this process and renames it into place once `fill` has written its tree. Somebody who was quicker wins: then the own copy
 * is thrown away.
 */
export async function makeLayer(
  layout: ContentLayout,
  name: string,
  fill: (tree: string) => Promise<NewLayer>,
): Promise<void> {
  const directory = newWorkDirectory(layout)
  try {
    const tree = join(directory, 'tree')
    mkdirSync(tree, { mode: 0o700 })
    const { notes, entries, sizeBytes } = await fill(tree)
    place(layout, directory, name, { notes, entries, sizeBytes })
  } catch (thrown) {
    removeTree(toByteString(directory))
    throw thrown
  }
}

function newWorkDirectory(layout: ContentLayout): string {
  const own = join(layout.work, ownerStamp())
  mkdirSync(own, { recursive: true, mode: 0o700 })
  const directory = join(own, randomBytes(6).toString('hex'))
  mkdirSync(directory, { mode: 0o700 })
  return directory
}

function place(layout: ContentLayout, directory: string, name: string, layer: NewLayer): void {
  writeLayerRecord(directory, layer)
  try {
    renameSync(directory, layerPath(layout, name))
  } catch (thrown) {
    const code = errnoOf(thrown)
    if (code !== 'ENOTEMPTY' && code !== 'EEXIST') throw thrown
    removeTree(toByteString(directory))
  }
}

/** The store's layers as composing sees them. What is made here costs no data: names and directories only. */
export function shelfOf(layout: ContentLayout): LayerShelf {
  const get = (name: string): ReturnType<LayerShelf['get']> => {
    const record = readLayerRecord(layout, name)
    return record === undefined ? undefined : { root: toByteString(layerTree(layout, name)), notes: record.notes }
  }
  const put = (name: string, fill: (tree: ByteString) => LayerNotes): NonNullable<ReturnType<LayerShelf['get']>> => {
    if (!hasLayer(layout, name)) fillLayer(layout, name, fill)
    const made = get(name)
    if (made === undefined) throw new Error(`layer ${name} vanished as it was made`)
    return made
  }
  return { get, put }
}

function fillLayer(layout: ContentLayout, name: string, fill: (tree: ByteString) => LayerNotes): void {
  const directory = newWorkDirectory(layout)
  try {
    const tree = join(directory, 'tree')
    mkdirSync(tree, { mode: 0o700 })
    place(layout, directory, name, { notes: fill(toByteString(tree)), entries: 0, sizeBytes: 0 })
  } catch (thrown) {
    removeTree(toByteString(directory))
    throw thrown
  }
}
