import { createHash } from 'node:crypto'
import { mkdirSync, readdirSync, readFileSync, rmSync, statSync, utimesSync } from 'node:fs'
import { join } from 'node:path'
import { removeStale, writeFileAtomic } from '../common/index.ts'
import { canonicalJson } from './canonical-json.ts'
import { type LayerOptions, type WrittenLayer, writeLayerFile } from './layer.ts'
import type { LayerEntry } from './layer-entries.ts'

export interface CachedLayer extends WrittenLayer {
  /** The compressed layer on this machine. */
  file: string
  /** What its maker wanted to remember with it. */
  facts: Record<string, unknown>
}

/** A layer that was asked for within this time may be on its way into a registry. */
const IN_USE_MS = 60 * 60_000

/** Part of every key: other rules for layers make other bytes of the same entries. */
const FORMAT = 1

/**
 * Layers that need not be made again, each by a key of everything that decides its content. `KEY.tar.gz` is the layer, `KEY.json` says
 * that it is whole; making one twice at the same time gives the same bytes twice. What is lost or cut is made again.
 */
export class LayerCache {
  readonly #directory: string

  constructor(directory: string) {
    this.#directory = directory
    mkdirSync(directory, { recursive: true, mode: 0o700 })
  }

  find(key: unknown): CachedLayer | undefined {
    const { file, record } = this.#paths(key)
    try {
      const layer = JSON.parse(readFileSync(record, 'utf8')) as CachedLayer
      if (statSync(file).size !== layer.descriptor.size) return undefined
      const now = new Date()
      utimesSync(record, now, now)
      return { ...layer, file }
    } catch {
      return undefined
    }
  }

  async write(
    key: unknown,
    entries: readonly LayerEntry[],
    facts: Record<string, unknown> = {},
    options: LayerOptions = {},
  ): Promise<CachedLayer> {
    const { file, record } = this.#paths(key)
    const layer: CachedLayer = { ...(await writeLayerFile(entries, file, options)), file, facts }
    writeFileAtomic(record, JSON.stringify(layer))
    return layer
  }

  /** Removes the layers that were used longest ago until at most `maxBytes` remain, none that was used within the last hour. */
  trim(maxBytes: number): void {
    removeStale(this.#directory, /\.tmp$/)
    const layers = readdirSync(this.#directory)
      .filter((name) => name.endsWith('.json'))
      .map((name) => ({ stem: join(this.#directory, name.slice(0, -'.json'.length)), usedMs: 0, bytes: 0 }))
    for (const layer of layers) {
      layer.usedMs = statSync(`${layer.stem}.json`, { throwIfNoEntry: false })?.mtimeMs ?? 0
      layer.bytes = statSync(`${layer.stem}.tar.gz`, { throwIfNoEntry: false })?.size ?? 0
    }
    let total = layers.reduce((sum, { bytes }) => sum + bytes, 0)
    for (const layer of layers.toSorted((a, b) => a.usedMs - b.usedMs)) {
      if (total <= maxBytes || Date.now() - layer.usedMs < IN_USE_MS) return
      rmSync(`${layer.stem}.json`, { force: true })
      rmSync(`${layer.stem}.tar.gz`, { force: true })
      total -= layer.bytes
    }
  }

  #paths(key: unknown): { file: string; record: string } {
    const hash = createHash('sha256')
      .update(canonicalJson([FORMAT, key]))
      .digest('hex')
      .slice(0, 32)
    return { file: join(this.#directory, `${hash}.tar.gz`), record: join(this.#directory, `${hash}.json`) }
  }
}
