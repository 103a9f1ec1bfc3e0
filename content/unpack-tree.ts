import { lstatSync, mkdirSync, readlinkSync, unlinkSync } from 'node:fs'
import { errnoOf } from '../common/index.ts'
import { type ByteString, fsPath, MAX_PATH_BYTES, refuse, shown, type TarEntry, type TarTime } from './tar-entry.ts'

/** A directory that this layer made. Only directories are remembered: everything else is asked of the disk. */
export interface TreeDirectory {
  readonly name: ByteString
  readonly parent: TreeDirectory | undefined
  /** Path below the root, `` for the root itself, `/usr/lib`. */
  readonly path: ByteString
  children: Map<ByteString, TreeDirectory> | undefined
  /** The tar's own entry for it; undefined while it is only implied by what lies in it. */
  entry: Pick<TarEntry, 'mode' | 'uid' | 'gid' | 'modified' | 'xattrs'> | undefined
  /** What lower layers have in it is hidden (`.wh..wh..opq`). */
  opaque: boolean
  /** Something else stood here before in this layer, or a whiteout: nothing of a lower directory shows, not even its owner and mode. */
  replaced: boolean
}

export type Kind = 'absent' | 'whiteout' | 'directory' | 'symlink' | 'other'

/** What a lower layer shows at a path, for unpacking in the light of what lies below; see relayout.ts. */
export interface LowerView {
  symlinkAt(path: ByteString): ByteString | undefined
}

/** As many as Linux follows in one path (path_resolution(7)). */
const MAX_SYMLINKS = 40
export const EPOCH: TarTime = { seconds: 0, nanoseconds: 0 }

/**
 * The directories of one layer and the only place where a name from a tar becomes a path on disk. Every component is looked at without
 * following it; a symbolic link is resolved here, inside the root, as a process in the container would see it. The kernel
 * is never given a path that has a symbolic link before its last component, so nothing outside the root can be reached. Nobody else writes below the root.
 */
export class LayerTree {
  readonly rootPath: ByteString
  readonly root: TreeDirectory = newDirectory('', undefined)
  readonly #lower: LowerView | undefined
  #lastParent: { key: ByteString; directory: TreeDirectory } | undefined

  /** `rootPath` is an existing empty directory, as a byte string. */
  constructor(rootPath: ByteString, lower?: LowerView) {
    this.rootPath = rootPath
    this.#lower = lower
  }

  /** Where the last component of `path` belongs: its directory, made if it is not there, and its name; `undefined` for the root. */
  place(path: ByteString): { directory: TreeDirectory; name: ByteString } | undefined {
    const end = path.lastIndexOf('/')
    const tail = path.slice(end + 1)
    if (end > 0 && isPlain(tail) && this.#lastParent?.key === path.slice(0, end)) {
      return { directory: this.#lastParent.directory, name: tail }
    }
    const parts = cleanPath(path)
    const bytes = parts.reduce((sum, part) => sum + part.length + 1, this.rootPath.length)
    if (bytes >= MAX_PATH_BYTES) throw refuse(`the name ${shown(path)} is longer than a path may be here`)
    const name = parts.pop()
    if (name === undefined) return undefined
    const directory = this.#walk(parts)
    if (end > 0 && isPlain(tail)) this.#lastParent = { key: path.slice(0, end), directory }
    return { directory, name }
  }

  /** The directory at `path`, symbolic links resolved; directories that are not there are made. */
  directory(path: ByteString): TreeDirectory {
    return this.#walk(cleanPath(path))
  }

  diskPath(directory: TreeDirectory, name?: ByteString): ByteString {
    return name === undefined ? this.rootPath + directory.path : `${this.rootPath + directory.path}/${name}`
  }

  kindAt(directory: TreeDirectory, name: ByteString): Kind {
    if (directory.children?.has(name) === true) return 'directory'
    return kindOf(this.diskPath(directory, name))
  }

  /** Whether the layer has a directory at exactly this clean path, `` or `/usr/lib`. */
  has(path: ByteString): boolean {
    let here: TreeDirectory | undefined = this.root
    for (const part of path.split('/').slice(1)) here = here?.children?.get(part)
    return here !== undefined
  }

  /** Makes a directory that does not exist yet; owner, mode and times come at the layer's end. */
  makeDirectory(parent: TreeDirectory, name: ByteString): TreeDirectory {
    const made = newDirectory(name, parent)
    mkdirSync(fsPath(this.rootPath + made.path), 0o700)
    parent.children ??= new Map()
    parent.children.set(name, made)
    return made
  }

  /** Makes a directory where this layer has something else: a lower directory of that name must not show through. */
  directoryInPlaceOf(parent: TreeDirectory, name: ByteString): TreeDirectory {
    unlinkSync(fsPath(this.diskPath(parent, name)))
    this.linksChanged()
    const made = this.makeDirectory(parent, name)
    made.opaque = true
    made.replaced = true
    return made
  }

  /** Forgets a directory that was removed from disk, with all that lay in it. */
  forget(directory: TreeDirectory): void {
    directory.parent?.children?.delete(directory.name)
    this.#lastParent = undefined
  }

  /** To be called when something other than a directory was removed or replaced: it may have been a link that led somewhere. */
  linksChanged(): void {
    this.#lastParent = undefined
  }

  /** All directories, each before what lies in it. */
  *directories(): Generator<TreeDirectory> {
    const waiting = [this.root]
    for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) {
      yield next
      for (const child of next.children?.values() ?? []) waiting.push(child)
    }
  }

  #walk(parts: readonly ByteString[]): TreeDirectory {
    let here = this.root
    let links = 0
    const waiting = parts.toReversed()
    for (let name = waiting.pop(); name !== undefined; name = waiting.pop()) {
      if (name === '' || name === '.') continue
      if (name === '..') {
        here = here.parent ?? here
        continue
      }
      const known = here.children?.get(name)
      if (known !== undefined) {
        here = known
        continue
      }
      const target = this.#symlinkAt(here, name)
      if (target === undefined) {
        here = this.#imply(here, name)
        continue
      }
      links += 1
      if (links > MAX_SYMLINKS) throw refuse('a path leads through too many symbolic links')
      if (target.startsWith('/')) here = this.root
      waiting.push(...target.split('/').toReversed())
    }
    return here
  }

  #symlinkAt(directory: TreeDirectory, name: ByteString): ByteString | undefined {
    const kind = this.kindAt(directory, name)
    if (kind === 'symlink') return readlinkSync(fsPath(this.diskPath(directory, name)), 'latin1')
    if (kind !== 'absent' || this.#lower === undefined || hidesLower(directory)) return undefined
    return this.#lower.symlinkAt(`${directory.path}/${name}`)
  }

  #imply(parent: TreeDirectory, name: ByteString): TreeDirectory {
    const kind = this.kindAt(parent, name)
    if (kind === 'absent') return this.makeDirectory(parent, name)
    if (kind === 'whiteout') return this.directoryInPlaceOf(parent, name)
    throw refuse('an entry lies below something that is no directory')
  }
}

export function kindOf(path: ByteString): Kind {
  let stat: ReturnType<typeof lstatSync>
  try {
    stat = lstatSync(fsPath(path))
  } catch (thrown) {
    if (errnoOf(thrown) === 'ENOENT') return 'absent'
    throw thrown
  }
  if (stat.isDirectory()) return 'directory'
  if (stat.isSymbolicLink()) return 'symlink'
  return stat.isCharacterDevice() && stat.rdev === 0 ? 'whiteout' : 'other'
}

/** Whether nothing of the layers below shows in this directory. */
export function hidesLower(directory: TreeDirectory): boolean {
  for (let at: TreeDirectory | undefined = directory; at !== undefined; at = at.parent) if (at.opaque) return true
  return false
}

/** A tar's name as components below the root: absolute names start there, and `..` never leads above it. */
export function cleanPath(path: ByteString): ByteString[] {
  const clean: ByteString[] = []
  for (const part of path.split('/')) {
    if (part === '..') clean.pop()
    else if (part !== '' && part !== '.') clean.push(part)
  }
  return clean
}

function isPlain(name: ByteString): boolean {
  return name !== '' && name !== '.' && name !== '..'
}

function newDirectory(name: ByteString, parent: TreeDirectory | undefined): TreeDirectory {
  const path = parent === undefined ? '' : `${parent.path}/${name}`
  return { name, parent, path, children: undefined, entry: undefined, opaque: false, replaced: false }
}
