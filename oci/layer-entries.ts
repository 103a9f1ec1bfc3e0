import { AppError } from '../common/index.ts'

/** What a layer is made of. Paths are relative to the root of the image, with `/` between their parts. */
export type LayerEntry = LayerFile | LayerDirectory | LayerLink

interface LayerCommon {
  path: string
  /** Owner. Default 0. */
  uid?: number
  gid?: number
}

export interface LayerFile extends LayerCommon {
  kind: 'file'
  /** Permission bits. Default 0644. */
  mode?: number
  content: Uint8Array | FileContent
}

/** A regular file that holds the bytes; a symbolic link in its place is refused. */
export interface FileContent {
  file: string
  /** Called with the open file before and after it is read; what it throws ends the layer. */
  check?: (fd: number) => void
}

export interface LayerDirectory extends LayerCommon {
  kind: 'directory'
  /** Permission bits. Default 0755. */
  mode?: number
}

export interface LayerLink extends LayerCommon {
  /** A hard link's target is a path of this layer, a symbolic link's is any text. */
  kind: 'symlink' | 'hardlink'
  target: string
}

/**
 * The time of every entry, s: 2 January 1980, UTC. Builds must not carry the time of their making, and ZIP files (with them
 * Python's zipapps, JARs and deployment packages that a function makes of its own files) hold no time before 1980 in any zone.
 */
export const FIXED_TIME_S = 315_619_200

/**
 * The mode of a file or directory in a layer: 0755 when its owner may execute it, else 0644; directories 0755. What umask,
 * file system and version control of a machine make of the other bits would change digests and means nothing in an image.
 */
export function normalMode(mode: number, kind: 'file' | 'directory'): number {
  return kind === 'directory' || (mode & 0o100) !== 0 ? 0o755 : 0o644
}

/**
 * Entries in the order of a layer: by the bytes of their paths, so that a directory comes before what is in it; hard links after all
 * else, since their target must exist. Throws `layer-entry-invalid` for paths that leave the image, that are there twice,
 * or that unpacking would read as whiteouts.
 */
export function arrangeEntries(entries: readonly LayerEntry[]): LayerEntry[] {
  const keyed = entries.map((entry) => ({ entry, key: Buffer.from(entry.path) }))
  const paths = new Set<string>()
  for (const { entry } of keyed) {
    const why = paths.has(entry.path) ? 'it is there twice' : (wrongPath(entry.path) ?? wrongNumbers(entry))
    if (why !== undefined) throw invalid(entry, why)
    paths.add(entry.path)
  }
  for (const { entry } of keyed) {
    if (entry.kind === 'symlink' && (entry.target === '' || entry.target.includes('\0')))
      throw invalid(entry, 'it leads nowhere')
    if (entry.kind === 'hardlink' && !paths.has(entry.target)) throw invalid(entry, 'its target is not in this layer')
  }
  keyed.sort(
    (a, b) => Number(a.entry.kind === 'hardlink') - Number(b.entry.kind === 'hardlink') || Buffer.compare(a.key, b.key),
  )
  return keyed.map(({ entry }) => entry)
}

function wrongPath(path: string): string | undefined {
  if (path === '' || path.includes('\0')) return 'its name is empty or has a NUL in it'
  if (!path.isWellFormed()) return 'its name is no valid text'
  const parts = path.split('/')
  if (parts.some((part) => part === '' || part === '.' || part === '..')) return 'it is no plain relative path'
  if (parts.some((part) => part.startsWith('.wh.'))) return 'names that begin with .wh. delete files in image layers'
  return undefined
}

function wrongNumbers({ uid = 0, gid = 0, ...entry }: LayerEntry): string | undefined {
  const mode = 'mode' in entry ? (entry.mode ?? 0) : 0
  if (!Number.isInteger(mode) || mode < 0 || mode > 0o7777) return 'its mode is no set of permission bits'
  const fits = [uid, gid].every((id) => Number.isInteger(id) && id >= 0 && id <= 0o7777777)
  return fits ? undefined : 'its owner is not between 0 and 2097151'
}

function invalid(entry: LayerEntry, why: string): AppError {
  return new AppError(`"${entry.path.slice(0, 300)}" cannot be put into a layer: ${why}`, {
    code: 'layer-entry-invalid',
    fault: 'user',
    hint: 'rename or leave out this file',
  })
}
