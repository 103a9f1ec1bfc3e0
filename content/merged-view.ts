import { readlinkSync } from 'node:fs'
import { getExtendedAttribute } from '../common/index.ts'
import { type ByteString, fsPath, refuse } from './tar-entry.ts'
import { cleanPath, kindOf, type LowerView } from './unpack-tree.ts'
import { OPAQUE_XATTR } from './unpack-xattrs.ts'

/** What stands at a path. `directories` are those that overlayfs would merge there, the top one first, each with its layer's position. */
export type Shown =
  | { kind: 'absent' }
  | { kind: 'directory'; path: ByteString; directories: readonly MergedDirectory[] }
  | { kind: 'symlink' | 'other'; path: ByteString; diskPath: ByteString }

export interface MergedDirectory {
  layer: number
  diskPath: ByteString
}

const ABSENT: Shown = { kind: 'absent' }
const MAX_SYMLINKS = 40
const MAX_REMEMBERED = 65_536

/** The view that an overlay of unpacked layers gives, computed from the layers' directories without mounting anything. */
export class MergedView implements LowerView {
  readonly #root: Shown
  readonly #known = new Map<ByteString, Shown>()

  /** Roots of the layers, lowest first. */
  constructor(roots: readonly ByteString[]) {
    const directories = roots.map((diskPath, layer) => ({ layer, diskPath })).toReversed()
    this.#root = roots.length === 0 ? ABSENT : { kind: 'directory', path: '', directories }
  }

  /** What stands at exactly this path (clean, `` or `/usr/lib`); symbolic links on the way are not followed. */
  lookup(path: ByteString): Shown {
    if (path === '') return this.#root
    const known = this.#known.get(path)
    if (known !== undefined) return known
    const slash = path.lastIndexOf('/')
    const parent = this.lookup(path.slice(0, slash))
    const shown = parent.kind === 'directory' ? lookIn(parent.directories, path.slice(slash + 1), path) : ABSENT
    if (this.#known.size >= MAX_REMEMBERED) this.#known.clear()
    if (shown.kind === 'directory') this.#known.set(path, shown)
    return shown
  }

  symlinkAt(path: ByteString): ByteString | undefined {
    const shown = this.lookup(path)
    return shown.kind === 'symlink' ? readlinkSync(fsPath(shown.diskPath), 'latin1') : undefined
  }

  /** As `lookup`, with symbolic links before the last component followed inside the root, as the kernel does for a process in the container. */
  follow(path: ByteString): Shown {
    const waiting = cleanPath(path).toReversed()
    let here = this.#root
    let links = 0
    for (let name = waiting.pop(); name !== undefined; name = waiting.pop()) {
      if (here.kind !== 'directory') return ABSENT
      if (name === '' || name === '.') continue
      if (name === '..') {
        here = this.lookup(here.path.slice(0, Math.max(0, here.path.lastIndexOf('/'))))
        continue
      }
      const shown = this.lookup(`${here.path}/${name}`)
      if (shown.kind !== 'symlink' || waiting.length === 0) {
        here = shown
        continue
      }
      links += 1
      if (links > MAX_SYMLINKS) throw refuse('a path leads through too many symbolic links')
      const target = readlinkSync(fsPath(shown.diskPath), 'latin1')
      if (target.startsWith('/')) here = this.#root
      waiting.push(...target.split('/').toReversed())
    }
    return here
  }
}

function lookIn(parents: readonly MergedDirectory[], name: ByteString, path: ByteString): Shown {
  const directories: MergedDirectory[] = []
  for (const parent of parents) {
    const diskPath = `${parent.diskPath}/${name}`
    const kind = kindOf(diskPath)
    if (kind === 'absent') continue
    if (kind === 'directory') directories.push({ layer: parent.layer, diskPath })
    else if (directories.length === 0 && kind !== 'whiteout') return { kind, path, diskPath }
    if (kind !== 'directory' || isOpaque(diskPath)) break
  }
  return directories.length === 0 ? ABSENT : { kind: 'directory', path, directories }
}

export function isOpaque(diskPath: ByteString): boolean {
  return getExtendedAttribute(fsPath(diskPath), OPAQUE_XATTR) !== undefined
}
