import { chmodSync, lchownSync, unlinkSync } from 'node:fs'
import { setExtendedAttribute, setModifiedTime } from '../common/index.ts'
import { type ByteString, fsPath } from './tar-entry.ts'
import { EPOCH, hidesLower, kindOf, type LayerTree, type TreeDirectory } from './unpack-tree.ts'
import { OPAQUE_VALUE, OPAQUE_XATTR, setXattrs } from './unpack-xattrs.ts'

/** What a layer says about the layers below it. Paths are byte strings below the root, `/usr/lib`. */
export interface LayerNotes {
  /** Everything below is hidden. Overlayfs does not look for the mark on a layer's root, so the layers below are not mounted at all. */
  opaqueRoot: boolean
  /** Directories without an entry of their own: owner, mode, attributes and times are those of the directory below, if there is one. */
  implied: ByteString[]
  whiteouts: ByteString[]
  /** Device nodes, which are left out. */
  devices: ByteString[]
  /** Hard links to files that this layer does not have: name and target. */
  lowerLinks: [name: ByteString, target: ByteString][]
}

interface Collected {
  whiteouts: ReadonlySet<ByteString>
  devices: ReadonlySet<ByteString>
  lowerLinks: ReadonlyMap<ByteString, ByteString>
}

const IMPLIED = { mode: 0o755, uid: 0, gid: 0, modified: EPOCH, xattrs: undefined }

/** The last step of a layer: whatever writing into a directory would have changed again. */
export function finishLayer(tree: LayerTree, collected: Collected): LayerNotes {
  const hidden = new Set<ByteString>()
  const implied: ByteString[] = []
  for (const directory of tree.directories()) {
    if (hidesLower(directory)) hidden.add(directory.path)
    if (directory.entry === undefined && inheritsOwner(directory)) implied.push(directory.path)
  }
  // what was noted below a directory that a later entry replaced is void
  const isLive = (path: ByteString): boolean => tree.has(parentPath(path))
  const isFree = (path: ByteString): boolean => isLive(path) && kindOf(tree.rootPath + path) === 'absent'
  const whiteouts = [...collected.whiteouts].filter((path) => isLive(path) && keepWhiteout(tree, path, hidden))
  for (const directory of tree.directories()) finishDirectory(tree.diskPath(directory), directory)
  return {
    opaqueRoot: tree.root.opaque,
    implied,
    whiteouts,
    devices: [...collected.devices].filter((path) => isFree(path) && !hidden.has(parentPath(path))),
    lowerLinks: [...collected.lowerLinks].filter(([path]) => isFree(path)),
  }
}

/** A whiteout where nothing can show through is removed: in a directory that is not merged with a lower one, overlayfs would list its name. */
function keepWhiteout(tree: LayerTree, path: ByteString, hidden: ReadonlySet<ByteString>): boolean {
  const diskPath = tree.rootPath + path
  if (kindOf(diskPath) !== 'whiteout') return false
  if (!hidden.has(parentPath(path))) return true
  unlinkSync(fsPath(diskPath))
  return false
}

function inheritsOwner(directory: TreeDirectory): boolean {
  if (directory.replaced) return false
  return directory.parent === undefined || !hidesLower(directory.parent)
}

function finishDirectory(path: ByteString, directory: TreeDirectory): void {
  const { mode, uid, gid, modified, xattrs } = directory.entry ?? IMPLIED
  lchownSync(fsPath(path), uid, gid)
  chmodSync(fsPath(path), mode)
  setXattrs(path, 'directory', xattrs)
  if (directory.opaque) setExtendedAttribute(fsPath(path), OPAQUE_XATTR, OPAQUE_VALUE)
  setModifiedTime(fsPath(path), modified.seconds, modified.nanoseconds)
}

export function parentPath(path: ByteString): ByteString {
  return path.slice(0, path.lastIndexOf('/'))
}
