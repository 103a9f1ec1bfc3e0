import { lstatSync, readdirSync, readlinkSync, type Stats } from 'node:fs'
import { join, posix } from 'node:path'
import { AppError } from '../common/index.ts'
import { type LayerEntry, normalMode } from './layer-entries.ts'

export interface TreeOptions {
  /** Where in the image the directory's content lies, `var/user/node_modules`. Default: at the root. */
  prefix?: string
  /** `normal`: owner root, modes by `normalMode`. `exact`: owners and modes as they are. */
  owners: 'normal' | 'exact'
  /** Asked for each path (relative to the directory); what is left out takes what is below it along. */
  keep?: (path: string) => boolean
  signal?: AbortSignal
}

/**
 * The entries of a directory that we made ourselves (unpacked packages, installed dependencies), the directory itself not among them.
 * No link is followed; hard links become files. Throws `layer-entry-invalid` for devices, FIFOs and sockets.
 */
export function treeEntries(directory: string, options: TreeOptions): LayerEntry[] {
  const entries: LayerEntry[] = []
  collect(directory, '', options, entries)
  return entries
}

function collect(directory: string, parent: string, options: TreeOptions, entries: LayerEntry[]): void {
  options.signal?.throwIfAborted()
  for (const name of readdirSync(join(directory, parent))) {
    const path = posix.join(parent, name)
    if (options.keep?.(path) === false) continue
    const stat = lstatSync(join(directory, path))
    entries.push(entryOf(join(directory, path), posix.join(options.prefix ?? '', path), stat, options.owners))
    if (stat.isDirectory()) collect(directory, path, options, entries)
  }
}

function entryOf(file: string, path: string, stat: Stats, owners: TreeOptions['owners']): LayerEntry {
  const owner = owners === 'exact' ? { uid: stat.uid, gid: stat.gid } : {}
  const mode = (kind: 'file' | 'directory'): number =>
    owners === 'exact' ? stat.mode & 0o7777 : normalMode(stat.mode, kind)
  if (stat.isDirectory()) return { kind: 'directory', path, mode: mode('directory'), ...owner }
  if (stat.isSymbolicLink()) return { kind: 'symlink', path, target: readlinkSync(file), ...owner }
  if (stat.isFile()) return { kind: 'file', path, mode: mode('file'), content: { file }, ...owner }
  throw new AppError(`${file} cannot be put into a layer: it is a device, FIFO or socket`, {
    code: 'layer-entry-invalid',
  })
}
