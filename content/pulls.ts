import { randomBytes } from 'node:crypto'
import { readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { isAlive } from '../common/index.ts'
import { type ContentLayout, ownerStamp, parseStamp } from './layout.ts'

/**
 * Notes that a pull of this process counts on `layers`, so that no process collects them between their unpacking and the image's record.
 * Called under the lock. Answers what ends it.
 */
export function announcePull(layout: ContentLayout, layers: readonly string[]): () => void {
  const path = join(layout.pulls, `${ownerStamp()}.${randomBytes(6).toString('hex')}`)
  writeFileSync(path, layers.join('\n'), { flag: 'wx', mode: 0o600 })
  return () => rmSync(path, { force: true })
}

/** The layers that pulls of living processes count on. Notes of dead ones are removed. */
export function layersBeingPulled(layout: ContentLayout): Set<string> {
  const layers = new Set<string>()
  for (const file of readdirSync(layout.pulls)) {
    const path = join(layout.pulls, file)
    const owner = parseStamp(file.split('.')[0] ?? '')
    if (owner === undefined || !isAlive(owner)) rmSync(path, { force: true })
    else for (const name of readFileSync(path, 'utf8').split('\n')) layers.add(name)
  }
  return layers
}
