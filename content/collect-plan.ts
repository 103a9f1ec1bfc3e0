/** What the store holds, as plain facts; names are layer names, ids are image digests. */
export interface Holdings {
  images: { id: string; layers: readonly string[]; lastUsedMs: number; isLeased: boolean }[]
  layers: ReadonlyMap<string, { sizeBytes: number; lastUsedMs: number }>
  /** Layers that a pull counts on. */
  pulling: ReadonlySet<string>
}

export interface CollectLimits {
  maxBytes: number
  minAgeMs: number
}

export interface Removal {
  images: string[]
  layers: string[]
  bytes: number
}

/**
 * Decides what goes: while more than `maxBytes` are held, the image or stray layer that was used longest ago, if nobody leases or pulls
 * it and it is older than `minAgeMs`. A layer goes with the last image that has it.
 */
export function planRemoval(holdings: Holdings, limits: CollectLimits, nowMs: number): Removal {
  const users = countUsers(holdings)
  const removal: Removal = { images: [], layers: [], bytes: 0 }
  let heldBytes = [...holdings.layers.values()].reduce((sum, layer) => sum + layer.sizeBytes, 0)
  const drop = (name: string): void => {
    const layer = holdings.layers.get(name)
    if (layer === undefined || holdings.pulling.has(name)) return
    removal.layers.push(name)
    removal.bytes += layer.sizeBytes
    heldBytes -= layer.sizeBytes
  }
  for (const candidate of candidates(holdings, users)) {
    if (heldBytes <= limits.maxBytes) break
    if (nowMs - candidate.lastUsedMs < limits.minAgeMs) break
    if (candidate.image !== undefined) removal.images.push(candidate.image)
    for (const name of candidate.layers) {
      const left = (users.get(name) ?? 1) - 1
      users.set(name, left)
      if (left === 0) drop(name)
    }
  }
  return removal
}

interface Candidate {
  image: string | undefined
  layers: readonly string[]
  lastUsedMs: number
}

/** Oldest use first: images that nobody leases, and layers that no image has (of pulls that failed). */
function candidates(holdings: Holdings, users: ReadonlyMap<string, number>): Candidate[] {
  const images = holdings.images
    .filter(({ isLeased }) => !isLeased)
    .map(({ id, layers, lastUsedMs }) => ({ image: id, layers: [...new Set(layers)], lastUsedMs }))
  const strays = [...holdings.layers]
    .filter(([name]) => !users.has(name) && !holdings.pulling.has(name))
    .map(([name, { lastUsedMs }]) => ({ image: undefined, layers: [name], lastUsedMs }))
  return [...images, ...strays].toSorted((a, b) => a.lastUsedMs - b.lastUsedMs)
}

function countUsers({ images }: Holdings): Map<string, number> {
  const users = new Map<string, number>()
  for (const { layers } of images) {
    for (const name of new Set(layers)) users.set(name, (users.get(name) ?? 0) + 1)
  }
  return users
}
