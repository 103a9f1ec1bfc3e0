import type { Digest } from './digest.ts'
import type { Descriptor, ImageConfig, Manifest, Platform } from './manifest.ts'
import { MAX_CONFIG_BYTES, parseImageConfig, unsupported } from './parse.ts'
import { checkLayers, checkPlatform, choosePlatform } from './platform.ts'
import type { FetchedManifest, RegistryClient } from './registry.ts'

/** One platform's image without its layers: everything that decides what has to be fetched. */
export interface LoadedImage {
  /** Of the platform's manifest: what engines start. */
  descriptor: Descriptor
  manifest: Manifest
  manifestBytes: Buffer
  config: ImageConfig
  configBytes: Buffer
  /** Compressed size of all blobs: manifest, configuration, layers. */
  sizeBytes: number
}

/** An index may lead to an index; deeper nesting is nobody's image. */
const MAX_INDEX_DEPTH = 3

/**
 * Reads manifest and configuration of the image for `platform` that `start` names or leads to (through an index), each checked by digest,
 * and refuses layers that could not be used before any is fetched.
 */
export async function loadImage(
  client: RegistryClient,
  repository: string,
  start: Digest | FetchedManifest,
  platform: Platform,
): Promise<LoadedImage> {
  let fetched = typeof start === 'string' ? await client.getManifest(repository, start) : start
  const what = `image ${repository}@${fetched.descriptor.digest}`
  for (let depth = 0; fetched.document.kind === 'index'; depth += 1) {
    if (depth === MAX_INDEX_DEPTH) throw unsupported(what, 'its index leads to too many others', 'push a plain image')
    fetched = await client.getManifest(repository, choosePlatform(fetched.document.index, platform, what))
  }
  const { manifest } = fetched.document
  checkLayers(manifest, what)
  const configBytes = await client.readBlob(repository, manifest.config, MAX_CONFIG_BYTES)
  const config = parseImageConfig(configBytes, manifest, what)
  checkPlatform(config, platform, what)
  const blobs = [fetched.descriptor, manifest.config, ...manifest.layers]
  return {
    descriptor: fetched.descriptor,
    manifest,
    manifestBytes: fetched.bytes,
    config,
    configBytes,
    sizeBytes: blobs.reduce((total, { size }) => total + size, 0),
  }
}
