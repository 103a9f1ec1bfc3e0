import { type Digest, digestHex, digestOf } from '../oci/index.ts'
import { makeOwnersLayer, type StackedLayer, wronglyShown } from './implied-owners.ts'
import { MergedView } from './merged-view.ts'
import { needsRelayout, relayout } from './relayout.ts'
import type { ByteString } from './tar-entry.ts'
import type { LayerNotes } from './unpack-finish.ts'

/** What composing needs of the store: finding layers and adding ones made here. */
export interface LayerShelf {
  /** The layer if it is whole and here. */
  get(name: string): StackedLayer | undefined
  /** Makes a layer unless it is here; `fill` writes its tree. */
  put(name: string, fill: (tree: ByteString) => LayerNotes): StackedLayer
}

/** As many lower directories as one overlay takes. */
const MAX_LAYERS = 500

/**
 * The directories to mount for an image, lowest first, from layers that were unpacked each by itself, at once and in any order. What a layer means can
 * depend on what lies below it; where it does, a layer is laid out again, or one is added on top. Most images need neither. Of a layer that occurs
 * twice only the upper one is mounted (overlayfs refuses the same directory twice, and the lower one shows nowhere).
 */
export function composeImage(shelf: LayerShelf, diffIds: readonly Digest[]): string[] {
  const names: string[] = []
  const layers: StackedLayer[] = []
  let chain = ''
  for (const [index, diffId] of diffIds.entries()) {
    chain = index === 0 ? diffId : digestOf(`${chain} ${diffId}`)
    const hex = digestHex(diffId)
    const own = needed(shelf, hex)
    if (own.notes.opaqueRoot) {
      names.length = 0
      layers.length = 0
    }
    const earlier = names.findIndex((name) => name === hex)
    if (earlier !== -1) {
      names.splice(earlier, 1)
      layers.splice(earlier, 1)
    }
    const roots = layers.map(({ root }) => root)
    const fits = !needsRelayout(own.notes, new MergedView(roots))
    const name = fits ? hex : `in-${digestHex(chain as Digest)}`
    names.push(name)
    layers.push(fits ? own : shelf.put(name, (tree) => relayout(own.root, own.notes, roots, tree)))
  }
  return withOwners(shelf, names, layers)
}

function withOwners(shelf: LayerShelf, names: readonly string[], layers: readonly StackedLayer[]): string[] {
  const wrong = names.length < MAX_LAYERS ? wronglyShown(layers) : []
  if (wrong.length === 0) return [...names]
  const top = `top-${digestHex(digestOf(names.join(' ')))}`
  shelf.put(top, (tree) => makeOwnersLayer(layers, wrong, tree))
  return [...names, top]
}

function needed(shelf: LayerShelf, name: string): StackedLayer {
  const layer = shelf.get(name)
  if (layer === undefined) throw new Error(`layer ${name} vanished while an image was made of it`)
  return layer
}
