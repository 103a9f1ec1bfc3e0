import { type Descriptor, type Index, type Manifest, MEDIA, type Platform } from './manifest.ts'
import { unsupported } from './parse.ts'

/** The platform of this machine, in the words of image specifications (`amd64`, not `x64`). */
export function machinePlatform(): Platform {
  const names: Partial<Record<NodeJS.Architecture, string>> = { x64: 'amd64', ia32: '386', ppc64: 'ppc64le' }
  return { os: 'linux', architecture: names[process.arch] ?? process.arch }
}

/**
 * The one entry of an index for a platform. Attestations (platform unknown/unknown) are no images. Of several that fit,
 * the plainest variant wins, then the first. Throws `image-unsupported` that lists what there is.
 */
export function choosePlatform(index: Index, wanted: Platform, what: string): Descriptor {
  const images = index.manifests.filter((entry) => !isAttestation(entry))
  const fitting = images.filter(({ platform }) => platform !== undefined && fits(platform, wanted))
  const chosen = fitting.toSorted((a, b) => variantRank(a.platform, wanted) - variantRank(b.platform, wanted))[0]
  if (chosen !== undefined) return chosen
  const [only] = images
  if (images.length === 1 && only !== undefined && only.platform === undefined) return only
  const offered = images.map(({ platform }) => (platform === undefined ? 'unnamed' : platformName(platform)))
  throw unsupported(
    what,
    `it has no image for ${platformName(wanted)} but for ${[...new Set(offered)].slice(0, 20).join(', ') || 'nothing'}`,
    `build or push the image for ${platformName(wanted)} too`,
  )
}

export function platformName({ os, architecture, variant }: Platform): string {
  return variant === undefined ? `${os}/${architecture}` : `${os}/${architecture}/${variant}`
}

/** Throws `image-unsupported` when the image (by its configuration) is for another platform. */
export function checkPlatform(platform: Platform, wanted: Platform, what: string): void {
  if (platform.os === wanted.os && platform.architecture === wanted.architecture) return
  throw unsupported(
    what,
    `it is for ${platformName(platform)} and this machine is ${platformName(wanted)}`,
    `build the image for ${platformName(wanted)}`,
  )
}

function isAttestation({ platform, annotations }: Descriptor): boolean {
  const unknown = platform?.os === 'unknown' && platform.architecture === 'unknown'
  return unknown || annotations?.['vnd.docker.reference.type'] === 'attestation-manifest'
}

/** A variant above the baseline (amd64/v3) may not run here: only the baseline, or the one that was asked for. */
function fits(platform: Platform, wanted: Platform): boolean {
  if (platform.os !== wanted.os || platform.architecture !== wanted.architecture) return false
  return variantRank(platform, wanted) < 3
}

const BASELINE = new Map([
  ['amd64', 'v1'],
  ['arm64', 'v8'],
])

function variantRank(platform: Platform | undefined, wanted: Platform): number {
  const variant = platform?.variant
  if (variant === wanted.variant) return 0
  if (variant === BASELINE.get(wanted.architecture)) return 1
  return variant === undefined ? 2 : 3
}

export type LayerCompression = 'gzip' | 'zstd' | 'none'

const COMPRESSION = new Map<string, LayerCompression>([
  [MEDIA.ociLayerGzip, 'gzip'],
  [MEDIA.dockerLayerGzip, 'gzip'],
  [MEDIA.ociLayerZstd, 'zstd'],
  [MEDIA.ociLayerTar, 'none'],
  [MEDIA.dockerLayerTar, 'none'],
])

/** How a layer is compressed. Throws `image-unsupported` that names foreign, encrypted and unknown layers. */
export function layerCompression(layer: Descriptor, what: string): LayerCompression {
  const { mediaType } = layer
  const named = `layer ${layer.digest} (${mediaType})`
  if (mediaType.includes('+encrypted')) {
    throw unsupported(what, `${named} is encrypted`, 'push the image without encryption')
  }
  if (/nondistributable|\.foreign\./.test(mediaType) || (layer.urls ?? []).length > 0) {
    throw unsupported(what, `${named} is foreign: it lies outside the registry`, 'push the image with all its layers')
  }
  const compression = COMPRESSION.get(mediaType)
  if (compression !== undefined) return compression
  throw unsupported(what, `${named} is of an unknown kind`, 'layers are tar, tar+gzip or tar+zstd')
}

/** Checks all layers of an image as `layerCompression` does, before any of them is fetched. */
export function checkLayers(manifest: Manifest, what: string): void {
  for (const layer of manifest.layers) layerCompression(layer, what)
}
