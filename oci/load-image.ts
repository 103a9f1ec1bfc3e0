import { type Digest, digestOf } from './digest.ts'
import { type Descriptor, type ImageConfig, type Manifest, MEDIA, type Platform } from './manifest.ts'
import { MAX_CONFIG_BYTES, parseImageConfig, parseManifest, unsupported } from './parse.ts'
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
  return loaded(fetched.descriptor, fetched.bytes, manifest, configBytes, platform)
}

/** An image for `platform` from its two documents, which somebody else has read. Refuses what `loadImage` refuses. */
export function readImage(manifestBytes: Buffer, configBytes: Buffer, platform: Platform): LoadedImage {
  const digest = digestOf(manifestBytes)
  const document = parseManifest(manifestBytes, '', `image ${digest}`)
  if (document.kind === 'index')
    throw unsupported(`image ${digest}`, 'it is an index', 'take the manifest of one platform')
  const mediaType = document.manifest.mediaType ?? MEDIA.ociManifest
  checkLayers(document.manifest, `image ${digest}`)
  return loaded(
    { mediaType, digest, size: manifestBytes.length },
    manifestBytes,
    document.manifest,
    configBytes,
    platform,
  )
}

function loaded(
  descriptor: Descriptor,
  manifestBytes: Buffer,
  manifest: Manifest,
  configBytes: Buffer,
  platform: Platform,
): LoadedImage {
  const what = `image ${descriptor.digest}`
  const config = parseImageConfig(configBytes, manifest, what)
  checkPlatform(config, platform, what)
  const sizeBytes = [descriptor, manifest.config, ...manifest.layers].reduce((total, { size }) => total + size, 0)
  return { descriptor, manifest, manifestBytes, config, configBytes, sizeBytes }
}
