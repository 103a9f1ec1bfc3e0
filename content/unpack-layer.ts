import {
  closeSync,
  constants,
  fchmodSync,
  fchownSync,
  ftruncateSync,
  lchownSync,
  linkSync,
  openSync,
  symlinkSync,
  unlinkSync,
  writeSync,
} from 'node:fs'
import { errnoOf, makeFifo, setModifiedTime, setModifiedTimeOf, syscallErrno } from '../common/index.ts'
import { removeTree } from './remove-tree.ts'
import { type ByteString, fsPath, refuse, shown, type TarEntry } from './tar-entry.ts'
import type { TarHandler } from './tar-parser.ts'
import type { UnpackBudget } from './unpack-budget.ts'
import { explainFailure } from './unpack-errors.ts'
import { finishLayer, type LayerNotes } from './unpack-finish.ts'
import { type LayerTree, type TreeDirectory } from './unpack-tree.ts'
import { placeWhiteout } from './unpack-whiteout.ts'
import { setXattrs } from './unpack-xattrs.ts'

const WHITEOUT = '.wh.'
const OPAQUE = '.wh..wh..opq'
const { O_CREAT, O_EXCL, O_NOFOLLOW, O_WRONLY } = constants
const NEW_FILE = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW

interface OpenFile {
  fd: number
  path: ByteString
  entry: TarEntry
}

/**
 * Writes the entries of one layer below a root of its own, in their order, as `umoci unpack` and `tar x` would over an empty directory:
 * a later entry replaces an earlier one, a directory over a directory keeps what lies in it. Whiteouts become
 * what overlayfs reads. Device nodes are left out: no container could open one, since each gets a /dev of its own, and making them needs CAP_MKNOD. What this
 * layer alone cannot settle (links to files of lower layers, directories only implied) is answered in `LayerNotes`.
 */
export class LayerWriter implements TarHandler {
  readonly #tree: LayerTree
  readonly #budget: UnpackBudget
  readonly #whiteouts = new Set<ByteString>()
  readonly #devices = new Set<ByteString>()
  readonly #lowerLinks = new Map<ByteString, ByteString>()
  /** With an empty umask `open` already gives the mode that was asked for. */
  readonly #exactModes = process.umask() === 0
  #file: OpenFile | undefined

  constructor(tree: LayerTree, budget: UnpackBudget) {
    this.#tree = tree
    this.#budget = budget
  }

  entry(entry: TarEntry): void {
    this.#budget.entry(entry.sizeBytes)
    try {
      this.#write(entry)
    } catch (thrown) {
      throw explainFailure(thrown, entry.path)
    }
  }

  data(chunk: Buffer, position: number): void {
    const file = this.#file
    if (file === undefined) return
    this.#budget.written(chunk.length)
    try {
      let done = 0
      while (done < chunk.length) {
        done += writeSync(
          file.fd,
          chunk,
          done,
          chunk.length - done,
          file.entry.segments === undefined ? null : position + done,
        )
      }
    } catch (thrown) {
      throw explainFailure(thrown, file.path)
    }
  }

  end(): void {
    const file = this.#file
    if (file === undefined) return
    this.#file = undefined
    try {
      finishFile(file, this.#exactModes)
    } catch (thrown) {
      throw explainFailure(thrown, file.path)
    } finally {
      closeSync(file.fd)
    }
  }

  /** Sets what must be set last (directory owners, modes, times, opaque marks) and answers what is left to settle. */
  finish(): LayerNotes {
    try {
      return finishLayer(this.#tree, {
        whiteouts: this.#whiteouts,
        devices: this.#devices,
        lowerLinks: this.#lowerLinks,
      })
    } catch (thrown) {
      throw explainFailure(thrown, this.#tree.rootPath)
    }
  }

  /** Closes what is open after a failure. */
  abandon(): void {
    if (this.#file !== undefined) closeSync(this.#file.fd)
    this.#file = undefined
  }

  #write(entry: TarEntry): void {
    const place = this.#tree.place(entry.path)
    if (place === undefined) {
      if (entry.type !== 'directory') throw refuse('an entry replaces the root directory')
      this.#tree.root.entry = entry
      return
    }
    const { directory, name } = place
    if (name.startsWith(WHITEOUT)) this.#hide(directory, name)
    else if (entry.type === 'directory') this.#makeDirectory(directory, name, entry)
    else this.#makeEntry(directory, name, entry)
  }

  #hide(directory: TreeDirectory, marker: ByteString): void {
    if (marker === OPAQUE) {
      directory.opaque = true
      return
    }
    // names that begin so twice were aufs's own bookkeeping; they hide nothing
    if (marker.startsWith(`${WHITEOUT}${WHITEOUT}`)) return
    const name = marker.slice(WHITEOUT.length)
    if (name === '' || name === '.' || name === '..') throw refuse('a whiteout names nothing that can be hidden')
    const known = directory.children?.get(name)
    if (known !== undefined) {
      known.opaque = true // what this layer put there stays; only what lies below is hidden
      return
    }
    if (this.#tree.kindAt(directory, name) !== 'absent') return
    placeWhiteout(this.#tree.diskPath(directory, name))
    this.#whiteouts.add(`${directory.path}/${name}`)
  }

  #makeDirectory(parent: TreeDirectory, name: ByteString, entry: TarEntry): void {
    this.#forgetAt(parent, name)
    const known = parent.children?.get(name)
    const made = known ?? this.#newDirectory(parent, name)
    made.entry = entry
  }

  #newDirectory(parent: TreeDirectory, name: ByteString): TreeDirectory {
    try {
      return this.#tree.makeDirectory(parent, name)
    } catch (thrown) {
      if (errnoOf(thrown) !== 'EEXIST') throw thrown
      return this.#tree.directoryInPlaceOf(parent, name)
    }
  }

  #makeEntry(directory: TreeDirectory, name: ByteString, entry: TarEntry): void {
    this.#forgetAt(directory, name)
    const known = directory.children?.get(name)
    if (known !== undefined) {
      removeTree(this.#tree.diskPath(known))
      this.#tree.forget(known)
    }
    const path = this.#tree.diskPath(directory, name)
    if (entry.type === 'link') return this.#makeLink(directory, name, entry)
    try {
      this.#create(path, entry)
    } catch (thrown) {
      if ((syscallErrno(thrown) ?? errnoOf(thrown)) !== 'EEXIST') throw thrown
      this.#clear(path)
      this.#create(path, entry)
    }
    if (entry.type === 'character' || entry.type === 'block') this.#devices.add(`${directory.path}/${name}`)
  }

  #create(path: ByteString, entry: TarEntry): void {
    switch (entry.type) {
      case 'file':
        this.#file = { fd: openSync(fsPath(path), NEW_FILE, entry.mode & 0o777), path, entry }
        return
      case 'symlink':
        if (entry.linkPath === '') throw refuse(`the symbolic link ${shown(entry.path)} leads nowhere`)
        symlinkSync(fsPath(entry.linkPath), fsPath(path))
        break
      case 'fifo':
        makeFifo(fsPath(path), entry.mode & 0o777)
        break
      case 'character':
      case 'block':
        return this.#clear(path)
      case 'link':
      case 'directory':
        throw new Error('not made here')
    }
    lchownSync(fsPath(path), entry.uid, entry.gid)
    setModifiedTime(fsPath(path), entry.modified.seconds, entry.modified.nanoseconds)
  }

  /** A hard link takes nothing from its own header but the name: owner, mode and times are the file's. */
  #makeLink(directory: TreeDirectory, name: ByteString, entry: TarEntry): void {
    const path = this.#tree.diskPath(directory, name)
    const target = this.#tree.place(entry.linkPath)
    if (target === undefined) throw refuse(`the hard link ${shown(entry.path)} leads to a directory`)
    const targetPath = this.#tree.diskPath(target.directory, target.name)
    if (targetPath === path) return
    const kind = this.#tree.kindAt(target.directory, target.name)
    const leadsThroughItself = directory.children?.has(name) === true
    if (kind === 'directory' || leadsThroughItself)
      throw refuse(`the hard link ${shown(entry.path)} leads to a directory`)
    this.#clear(path)
    if (kind === 'absent' || kind === 'whiteout') {
      this.#lowerLinks.set(`${directory.path}/${name}`, `${target.directory.path}/${target.name}`)
    } else {
      linkSync(fsPath(targetPath), fsPath(path))
    }
  }

  #clear(path: ByteString): void {
    try {
      unlinkSync(fsPath(path))
      this.#tree.linksChanged()
    } catch (thrown) {
      if (errnoOf(thrown) !== 'ENOENT') throw thrown
    }
  }

  /** What an earlier entry of this name noted is void. A whiteout that stands there is replaced like a file. */
  #forgetAt(directory: TreeDirectory, name: ByteString): void {
    if (this.#whiteouts.size + this.#devices.size + this.#lowerLinks.size === 0) return
    const path = `${directory.path}/${name}`
    this.#whiteouts.delete(path)
    this.#devices.delete(path)
    this.#lowerLinks.delete(path)
  }
}

/** Owner before mode and attributes: a change of owner clears setuid and file capabilities; times last. */
function finishFile({ fd, path, entry }: OpenFile, exactModes: boolean): void {
  if (entry.segments !== undefined) ftruncateSync(fd, entry.sizeBytes)
  fchownSync(fd, entry.uid, entry.gid)
  if (!exactModes || entry.mode > 0o777) fchmodSync(fd, entry.mode)
  if (entry.xattrs !== undefined) setXattrs(path, 'file', entry.xattrs)
  setModifiedTimeOf(fd, entry.modified.seconds, entry.modified.nanoseconds)
}
