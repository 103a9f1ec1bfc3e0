export { canonicalJson } from './canonical-json.ts'
export { type Challenge, parseChallenges } from './challenge.ts'
export { Credential, type Reach } from './credential.ts'
export { type Digest, digestHex, digestOf, parseDigest } from './digest.ts'
export { isDockerHub } from './docker-hub.ts'
export { registryOrigin } from './endpoint.ts'
export type { Exchange } from './exchange.ts'
export { type BuiltImage, buildImage, type ConfigChanges, type ImagePlan, type NewLayer } from './image.ts'
export { type LayerOptions, type WrittenLayer, writeLayer, writeLayerFile } from './layer.ts'
export { type CachedLayer, LayerCache } from './layer-cache.ts'
export {
  FIXED_TIME_S,
  type LayerDirectory,
  type LayerEntry,
  type LayerFile,
  type LayerLink,
  normalMode,
} from './layer-entries.ts'
export { type TreeOptions, treeEntries } from './layer-tree.ts'
export { type LoadedImage, loadImage, readImage } from './load-image.ts'
export {
  type ContainerConfig,
  type Descriptor,
  type ImageConfig,
  type Index,
  type Manifest,
  MEDIA,
  type Platform,
} from './manifest.ts'
export {
  MAX_CONFIG_BYTES,
  MAX_LAYERS,
  MAX_MANIFEST_BYTES,
  type ManifestDocument,
  parseImageConfig,
  parseManifest,
} from './parse.ts'
export {
  checkLayers,
  choosePlatform,
  type LayerCompression,
  layerCompression,
  machinePlatform,
} from './platform.ts'
export { formatReference, parseReference, type Reference } from './reference.ts'
export { type FetchedManifest, RegistryClient, type RegistryClientOptions } from './registry.ts'
export type { BlobSource } from './upload.ts'
