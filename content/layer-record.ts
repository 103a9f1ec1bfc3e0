import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { bootId, fits, type Static, Type } from '../common/index.ts'
import { type ContentLayout, isThere, layerPath } from './layout.ts'

const Path = Type.String({ maxLength: 8192 })
const Notes = Type.Object({
  opaqueRoot: Type.Boolean(),
  implied: Type.Array(Path),
  whiteouts: Type.Array(Path),
  devices: Type.Array(Path),
  lowerLinks: Type.Array(Type.Tuple([Path, Path])),
})
const Layer = Type.Object({
  version: Type.Literal(1),
  /** Under which boot it was written: until it is known to be on the disk, a layer of an earlier boot may have holes. */
  bootId: Type.String({ maxLength: 64 }),
  entries: Type.Integer({ minimum: 0 }),
  sizeBytes: Type.Integer({ minimum: 0 }),
  notes: Notes,
})

/** `layers/NAME/layer.json`, inside the directory that is renamed into place: a layer is there with its record or not at all. */
export type LayerRecord = Static<typeof Layer>

/** The diff id's hex digits; or, made for one image, `in-HEX` (a layer put right for what lies below it) and `top-HEX` (owners of implied directories). */
const NAME = /^(?:in-|top-)?[0-9a-f]{64}$/

export function isLayerName(name: string): boolean {
  return NAME.test(name)
}

export function writeLayerRecord(directory: string, layer: Omit<LayerRecord, 'version' | 'bootId'>): void {
  const record: LayerRecord = { version: 1, bootId: bootId(), ...layer }
  writeFileSync(join(directory, 'layer.json'), JSON.stringify(record), { flag: 'wx', mode: 0o600 })
}

/** The record of a whole layer, or undefined when it is not here. */
export function readLayerRecord(layout: ContentLayout, name: string): LayerRecord | undefined {
  try {
    const value: unknown = JSON.parse(readFileSync(join(layerPath(layout, name), 'layer.json'), 'utf8'))
    return fits(Layer, value) ? value : undefined
  } catch {
    return undefined
  }
}

export function hasLayer(layout: ContentLayout, name: string): boolean {
  return isThere(layerPath(layout, name))
}

/** Whether all of it is known to have reached the disk. */
export function isDurable(layout: ContentLayout, name: string): boolean {
  return isThere(join(layerPath(layout, name), 'durable'))
}

export function markDurable(layout: ContentLayout, name: string): void {
  writeFileSync(join(layerPath(layout, name), 'durable'), '', { mode: 0o600 })
}
