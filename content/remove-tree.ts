import { type Dirent, readdirSync, rmdirSync, unlinkSync } from 'node:fs'
import { errnoOf } from '../common/index.ts'
import { type ByteString, fsPath } from './tar-entry.ts'

/**
 * Removes a directory and all that lies in it, without following a link and whatever bytes the names are made of.
 * What is gone already is done: two processes may remove the same tree.
 */
export function removeTree(path: ByteString): void {
  const waiting: { path: ByteString; isEmpty: boolean }[] = [{ path, isEmpty: false }]
  for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) {
    const here = next.path
    if (next.isEmpty) {
      unlessGone(() => rmdirSync(fsPath(here)))
      continue
    }
    waiting.push({ path: here, isEmpty: true })
    for (const entry of unlessGone(() => entriesOf(here)) ?? []) {
      const child = `${here}/${entry.name}`
      if (entry.isDirectory()) waiting.push({ path: child, isEmpty: false })
      else unlessGone(() => unlinkSync(fsPath(child)))
    }
  }
}

function entriesOf(path: ByteString): Dirent[] {
  return readdirSync(fsPath(path), { withFileTypes: true, encoding: 'latin1' })
}

function unlessGone<T>(work: () => T): T | undefined {
  try {
    return work()
  } catch (thrown) {
    if (errnoOf(thrown) === 'ENOENT') return undefined
    throw thrown
  }
}
