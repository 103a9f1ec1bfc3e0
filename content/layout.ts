import { mkdirSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { bootId, identify, type ProcessIdentity } from '../common/index.ts'
import { type Digest, digestHex } from '../oci/index.ts'

/** Every file name of a content store, in one place. All of it lies on one file system: things become visible by rename. */
export interface ContentLayout {
  root: string
  lock: string
  /** `blobs/sha256/HEX`: manifests, indexes and configurations, byte for byte. Compressed layers are not kept once they are unpacked. */
  blobs: string
  /** `images/HEX.json`: one record for each manifest whose layers are all here, and one for each index that led to it. Its mtime is the last use. */
  images: string
  /** `layers/NAME/{tree,layer.json,durable}` */
  layers: string
  /** One empty file for each lease, `OWNER,HEX,RANDOM`. */
  leases: string
  /** One file for each pull that is under way: the layers that it counts on. */
  pulls: string
  /** One directory for each worker process, for what is not whole yet. */
  work: string
  trash: string
  /** An empty directory: overlayfs takes no fewer than two when nothing is writable. */
  empty: string
}

export function contentLayout(root: string): ContentLayout {
  const at = (name: string): string => join(root, name)
  return {
    root,
    lock: at('lock'),
    blobs: at('blobs/sha256'),
    images: at('images'),
    layers: at('layers'),
    leases: at('leases'),
    pulls: at('pulls'),
    work: at('work'),
    trash: at('trash'),
    empty: at('empty'),
  }
}

export function makeLayout(root: string): ContentLayout {
  const layout = contentLayout(root)
  mkdirSync(root, { recursive: true, mode: 0o700 })
  for (const directory of [
    layout.blobs,
    layout.images,
    layout.layers,
    layout.leases,
    layout.pulls,
    layout.work,
    layout.trash,
  ]) {
    mkdirSync(directory, { recursive: true, mode: 0o700 })
  }
  mkdirSync(layout.empty, { recursive: true, mode: 0o755 })
  return layout
}

export function blobPath(layout: ContentLayout, digest: Digest): string {
  return join(layout.blobs, digestHex(digest))
}

export function layerPath(layout: ContentLayout, name: string): string {
  return join(layout.layers, name)
}

/** What an overlay mounts of a layer. */
export function layerTree(layout: ContentLayout, name: string): string {
  return join(layout.layers, name, 'tree')
}

/**
 * Whether there is something. Not `existsSync`: that asks access(2), which judges a process with another user than root as if it had no
 * capabilities, so that the worker would find nothing in directories of root.
 */
export function isThere(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false }) !== undefined
}

/** `PID-TICKS-BOOT`: a process that no other can be taken for, also after a restart of the machine. */
export function ownerStamp(): string {
  const own = identify(process.pid)
  return `${process.pid}-${own?.startTicks ?? '0'}-${bootId().slice(0, 8)}`
}

/** Reads a stamp back: undefined when it was made under another boot or is none, since that process is gone. */
export function parseStamp(stamp: string): ProcessIdentity | undefined {
  const match = /^([0-9]+)-([0-9]+)-([0-9a-f]{8})$/.exec(stamp)
  if (match === null || match[3] !== bootId().slice(0, 8)) return undefined
  return { pid: Number(match[1]), startTicks: match[2] ?? '' }
}
