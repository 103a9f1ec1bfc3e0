import { MergedView } from './merged-view.ts'
import { type DirectoryMetadata, readMetadata, sameMetadata } from './metadata.ts'
import type { ByteString } from './tar-entry.ts'
import { finishLayer, type LayerNotes } from './unpack-finish.ts'
import { LayerTree } from './unpack-tree.ts'

export interface StackedLayer {
  root: ByteString
  notes: LayerNotes
}

/**
 * A tar may hold `usr/bin/x` without `usr/bin`; over lower layers that directory keeps the owner, mode, times and attributes it has there. An overlay would show
 * those of the upper layer's directory instead. Answers the directories that would be shown wrongly.
 */
export function wronglyShown(layers: readonly StackedLayer[]): ByteString[] {
  const owners = new ImpliedOwners(layers)
  const paths = new Set(layers.flatMap(({ notes }) => notes.implied))
  return [...paths].filter((path) => owners.isWrong(path))
}

/** Makes, in the empty directory `target`, a layer for the top: `paths` and what they lie in, with the metadata that they ought to show. */
export function makeOwnersLayer(
  layers: readonly StackedLayer[],
  paths: readonly ByteString[],
  target: ByteString,
): LayerNotes {
  const owners = new ImpliedOwners(layers)
  const tree = new LayerTree(target)
  for (const path of paths) tree.directory(path)
  for (const directory of tree.directories()) directory.entry = owners.rightful(directory.path)
  return finishLayer(tree, { whiteouts: new Set(), devices: new Set(), lowerLinks: new Map() })
}

class ImpliedOwners {
  readonly #view: MergedView
  readonly #implied: readonly ReadonlySet<ByteString>[]

  constructor(layers: readonly StackedLayer[]) {
    this.#view = new MergedView(layers.map(({ root }) => root))
    this.#implied = layers.map(({ notes }) => new Set(notes.implied))
  }

  isWrong(path: ByteString): boolean {
    const right = this.rightful(path)
    const shown = this.#view.lookup(path)
    const top = shown.kind === 'directory' ? shown.directories[0] : undefined
    return right !== undefined && top !== undefined && !sameMetadata(right, readMetadata(top.diskPath))
  }

  /** That of the uppermost layer whose tar has an entry for the directory; of the top one where none has. */
  rightful(path: ByteString): DirectoryMetadata | undefined {
    const shown = this.#view.lookup(path)
    if (shown.kind !== 'directory') return undefined
    const source = shown.directories.find(({ layer }) => this.#implied[layer]?.has(path) !== true)
    const chosen = source ?? shown.directories[0]
    return chosen === undefined ? undefined : readMetadata(chosen.diskPath)
  }
}
