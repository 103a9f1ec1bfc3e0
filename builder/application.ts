import { randomUUID } from 'node:crypto'
import type { CachedLayer, LayerCache, LayerEntry } from '../oci/index.ts'
import type { SourceEntry, SourceFile, SourceTree } from './source.ts'
import { checkUnchanged } from './source-file.ts'

const DESTINATION = 'var/user'
/** A file changed this shortly before it was listed may change again within the same tick of its clock: its times prove nothing. */
const SETTLED_NS = 2_000_000_000n

/**
 * The layer of the source's own files. When no file's size, times and inode have changed since a layer was made of it, nothing
 * is read; otherwise all is. `executable` names files that are given the bit whatever the source says.
 */
export async function applicationLayer(
  tree: SourceTree,
  executable: ReadonlySet<string>,
  cache: LayerCache,
  signal: AbortSignal,
): Promise<{ layer: CachedLayer; reused: boolean }> {
  const key = ['application', [...executable], isSettled(tree) ? tree.root : randomUUID(), tree.entries.map(trace)]
  const known = cache.find(key)
  if (known !== undefined) return { layer: known, reused: true }
  const entries = tree.entries.map((entry) => layerEntry(entry, tree.root, executable))
  const layer = await cache.write(key, [{ kind: 'directory', path: DESTINATION }, ...entries], {}, { signal })
  return { layer, reused: false }
}

function layerEntry(entry: SourceEntry, root: string, executable: ReadonlySet<string>): LayerEntry {
  const path = `${DESTINATION}/${entry.path}`
  switch (entry.kind) {
    case 'directory':
      return { kind: 'directory', path }
    case 'link':
      return { kind: 'symlink', path, target: entry.target }
    case 'file': {
      const mode = entry.executable || executable.has(entry.path) ? 0o755 : 0o644
      const check = (fd: number): void => checkUnchanged(fd, root, entry)
      return { kind: 'file', path, mode, content: { file: entry.file, check } }
    }
    default:
      return entry satisfies never
  }
}

/** What of an entry must be equal for its layer to be the same. */
function trace(entry: SourceEntry): unknown {
  if (entry.kind !== 'file') return entry
  const { path, sizeBytes, executable, identity } = entry
  return [path, sizeBytes, executable, ...Object.values(identity).map(String)]
}

function isSettled(tree: SourceTree): boolean {
  const nowNs = BigInt(Date.now()) * 1_000_000n
  const files = tree.entries.filter((entry): entry is SourceFile => entry.kind === 'file')
  return files.every(({ identity }) => nowNs - identity.changedNs > SETTLED_NS)
}
