import { lchownSync } from 'node:fs'
import { makeWhiteout, setModifiedTime } from '../common/index.ts'
import { type ByteString, fsPath } from './tar-entry.ts'
import { EPOCH } from './unpack-tree.ts'

/** A whiteout that is the same whoever made it and when, so that a layer's tree depends on its tar alone. */
export function placeWhiteout(path: ByteString): void {
  makeWhiteout(fsPath(path))
  lchownSync(fsPath(path), 0, 0)
  setModifiedTime(fsPath(path), EPOCH.seconds, EPOCH.nanoseconds)
}
