import { randomBytes } from 'node:crypto'
import { readdirSync, renameSync } from 'node:fs'
import { join } from 'node:path'
import type { ContentLayout } from './layout.ts'
import { removeTree } from './remove-tree.ts'
import { toByteString } from './tar-entry.ts'

/** Makes a directory invisible in one step. */
export function moveToTrash(layout: ContentLayout, path: string): void {
  renameSync(path, join(layout.trash, randomBytes(8).toString('hex')))
}

/** Removes for good what was hidden, by whichever process. */
export function emptyTrash(layout: ContentLayout): void {
  for (const name of readdirSync(layout.trash)) removeTree(toByteString(join(layout.trash, name)))
}
