import { type BigIntStats, lstatSync, readdirSync, readlinkSync, realpathSync } from 'node:fs'
import { basename, dirname, join, posix } from 'node:path'
import { AppError, errnoOf } from '../common/index.ts'
import { IGNORE_FILE, type IgnoreRules, ignoreRules } from './ignore.ts'
import { readSmallFile } from './source-file.ts'

/** Where a function's code comes from. */
export type Source = { kind: 'directory'; path: string } | { kind: 'file'; path: string }

/** Bounds of a source (facts: scf-contract 8.2 for the bytes). */
export interface SourceLimits {
  bytes: number
  entries: number
}
export const DEFAULT_SOURCE_LIMITS: SourceLimits = { bytes: 500 * 1024 * 1024, entries: 100_000 }

const MAX_PATH_BYTES = 1024
/** Places that a link may name absolutely: they exist in every instance, and nothing of the building machine is meant. */
const LINK_ROOTS = ['/tmp/', '/var/user/']

/** What a file was when it was seen; the same four numbers later mean the same content. */
export interface FileIdentity {
  device: bigint
  inode: bigint
  modifiedNs: bigint
  changedNs: bigint
}

export type SourceEntry =
  | { kind: 'directory'; path: string }
  | { kind: 'link'; path: string; target: string }
  | {
      kind: 'file'
      path: string
      /** Where it lies on this machine. */
      file: string
      sizeBytes: number
      executable: boolean
      identity: FileIdentity
    }
export type SourceFile = Extract<SourceEntry, { kind: 'file' }>

/** A source as it was found: nothing but names and sizes has been read yet. Paths are relative, with `/`, sorted by their bytes. */
export interface SourceTree {
  root: string
  entries: SourceEntry[]
  bytes: number
  /** Left out because such files hold secrets. */
  secrets: string[]
}

/**
 * Lists a source without following a link and without opening a file. Everything in it is presumed hostile: what is neither
 * file, directory nor contained link is refused by name, as is a tree beyond the limits.
 */
export function scanSource(source: Source, limits = DEFAULT_SOURCE_LIMITS, signal?: AbortSignal): SourceTree {
  return source.kind === 'file' ? scanSingleFile(source.path, limits) : scanDirectory(source.path, limits, signal)
}

function scanSingleFile(path: string, limits: SourceLimits): SourceTree {
  const real = realPath(path)
  const name = basename(path)
  const stat = lstatSync(real, { bigint: true })
  if (!stat.isFile()) throw refused('source-not-found', `source ${path} is no file`)
  const root = dirname(real)
  const tree: SourceTree = { root, entries: [], bytes: 0, secrets: [] }
  add(tree, limits, fileEntry(real, name, stat))
  return tree
}

function scanDirectory(path: string, limits: SourceLimits, signal: AbortSignal | undefined): SourceTree {
  const root = realPath(path)
  if (!lstatSync(root).isDirectory()) throw refused('source-not-found', `source ${path} is no directory`)
  const tree: SourceTree = { root, entries: [], bytes: 0, secrets: [] }
  const userRules = readSmallFile(join(root, IGNORE_FILE), 65_536) ?? ''
  const installs = lstatSync(join(root, 'package.json'), { throwIfNoEntry: false }) !== undefined
  walk(tree, '', ignoreRules(userRules, installs), limits, signal)
  tree.entries.sort((a, b) => Buffer.compare(Buffer.from(a.path), Buffer.from(b.path)))
  return tree
}

function realPath(path: string): string {
  try {
    return realpathSync(path)
  } catch (cause) {
    throw refused('source-not-found', `source ${path} cannot be read: ${errnoOf(cause)}`)
  }
}

function walk(tree: SourceTree, parent: string, rules: IgnoreRules, limits: SourceLimits, signal?: AbortSignal): void {
  signal?.throwIfAborted()
  for (const raw of readdirSync(join(tree.root, parent), { encoding: 'buffer' })) {
    const path = posix.join(parent, checkedName(raw, parent))
    const absolute = join(tree.root, path)
    const stat = lstatSync(absolute, { bigint: true, throwIfNoEntry: false })
    if (stat === undefined) throw refused('source-changed', `${path} vanished while the source was read`)
    const verdict = rules.judge(path, stat.isDirectory())
    if (verdict === 'secret') tree.secrets.push(path)
    if (verdict !== 'kept') continue
    add(tree, limits, entryOf(absolute, path, stat))
    if (stat.isDirectory()) walk(tree, path, rules, limits, signal)
  }
}

function checkedName(raw: Buffer, parent: string): string {
  const name = raw.toString('utf8')
  if (!Buffer.from(name, 'utf8').equals(raw)) {
    throw refused('source-name-invalid', `a name in "${parent || '.'}" is not UTF-8: ${JSON.stringify(name)}`)
  }
  if (Buffer.byteLength(parent) + raw.length + 1 > MAX_PATH_BYTES) {
    throw refused(
      'source-name-invalid',
      `a path below "${parent.slice(0, 100)}" is longer than ${MAX_PATH_BYTES} bytes`,
    )
  }
  return name
}

function entryOf(absolute: string, path: string, stat: BigIntStats): SourceEntry {
  if (stat.isDirectory()) return { kind: 'directory', path }
  if (stat.isFile()) return fileEntry(absolute, path, stat)
  if (stat.isSymbolicLink()) return { kind: 'link', path, target: checkedTarget(path, readlinkSync(absolute)) }
  throw new AppError(`${path} is a ${specialKind(stat)}: only files, directories and links can be in a source`, {
    code: 'source-unsupported',
    fault: 'user',
    hint: `remove it, or name it in ${IGNORE_FILE}`,
  })
}

function fileEntry(file: string, path: string, stat: BigIntStats): SourceFile {
  return {
    kind: 'file',
    path,
    file,
    sizeBytes: Number(stat.size),
    executable: (stat.mode & 0o100n) !== 0n,
    identity: { device: stat.dev, inode: stat.ino, modifiedNs: stat.mtimeNs, changedNs: stat.ctimeNs },
  }
}

function checkedTarget(path: string, target: string): string {
  const resolved = posix.join('/', posix.dirname(path), target)
  const climbs = posix.normalize(posix.join(posix.dirname(path), target)).startsWith('..')
  const absolute = target.startsWith('/')
  const contained = absolute ? LINK_ROOTS.some((root) => posix.normalize(target).startsWith(root)) : !climbs
  if (contained && resolved.length <= 2 * MAX_PATH_BYTES) return target
  throw new AppError(`link ${path} leads out of the source, to ${target.slice(0, 200)}`, {
    code: 'source-outside',
    fault: 'user',
    hint: `copy what it means into the source, or name the link in ${IGNORE_FILE}`,
  })
}

function specialKind(stat: BigIntStats): string {
  if (stat.isFIFO()) return 'FIFO'
  if (stat.isSocket()) return 'socket'
  return 'device'
}

function add(tree: SourceTree, limits: SourceLimits, entry: SourceEntry): void {
  tree.entries.push(entry)
  if (entry.kind === 'file') tree.bytes += entry.sizeBytes
  const tooLarge = (what: string): AppError =>
    new AppError(`source is too large: more than ${what} at ${entry.path}`, {
      code: 'source-too-large',
      fault: 'user',
      hint: `leave out by ${IGNORE_FILE} what the function does not need`,
      details: { path: entry.path, limits },
    })
  if (tree.bytes > limits.bytes) throw tooLarge(`${limits.bytes} bytes`)
  if (tree.entries.length > limits.entries) throw tooLarge(`${limits.entries} files`)
}

function refused(code: string, message: string): AppError {
  return new AppError(message, { code, fault: 'user' })
}
