import { canonicalJson } from './canonical-json.ts'
import { digestOf } from './digest.ts'
import type { WrittenLayer } from './layer.ts'
import { FIXED_TIME_S } from './layer-entries.ts'
import { type ContainerConfig, type Descriptor, type ImageConfig, type Manifest, MEDIA } from './manifest.ts'

export interface NewLayer extends Pick<WrittenLayer, 'descriptor' | 'diffId'> {
  /** What `docker history` shows for it. */
  createdBy: string
}

/** Changes to a container configuration. Absent: as in the base image; null: removed. */
export interface ConfigChanges {
  /** Added to the environment of the base image, same names replaced. */
  env?: Record<string, string>
  /** Replaces the entrypoint; the base image's command belonged to the former one and goes unless `cmd` is given too. */
  entrypoint?: string[] | null
  cmd?: string[] | null
  workingDir?: string | null
  user?: string | null
  stopSignal?: string | null
  labels?: Record<string, string>
  /** Added, as `9000/tcp`. */
  exposedPorts?: string[]
}

export interface ImagePlan {
  base: { manifest: Pick<Manifest, 'layers'>; config: ImageConfig }
  /** On top of the base's, lowest first. */
  layers: readonly NewLayer[]
  changes?: ConfigChanges
  /** RFC 3339. Default `FIXED_TIME_S`: the time of making would change the digest. */
  created?: string
}

/** An image that can be pushed: two documents, each with its descriptor, and the layers in order. */
export interface BuiltImage {
  config: { descriptor: Descriptor; bytes: Buffer }
  manifest: { descriptor: Descriptor; bytes: Buffer }
  layers: Descriptor[]
}

const FIXED_CREATED = new Date(FIXED_TIME_S * 1000).toISOString().replace('.000Z', 'Z')

/** Docker's names for the same bytes; an OCI manifest lists them under the OCI names. */
const OCI_NAMES = new Map<string, string>([
  [MEDIA.dockerLayerGzip, MEDIA.ociLayerGzip],
  [MEDIA.dockerLayerTar, MEDIA.ociLayerTar],
])

/** Computes configuration and manifest of "base image, more layers, changed configuration" as an OCI image. The same plan gives the same digests. */
export function buildImage(plan: ImagePlan): BuiltImage {
  const { base, layers, changes = {}, created = FIXED_CREATED } = plan
  const history = layers.map(({ createdBy }) => ({ created, created_by: createdBy }))
  const config: ImageConfig = {
    ...base.config,
    created,
    config: changeConfig(base.config.config ?? {}, changes),
    rootfs: { type: 'layers', diff_ids: [...base.config.rootfs.diff_ids, ...layers.map(({ diffId }) => diffId)] },
    history: [...(base.config.history ?? []), ...history],
  }
  const allLayers = [...base.manifest.layers.map(ociLayer), ...layers.map(({ descriptor }) => descriptor)]
  const configDocument = document(MEDIA.ociConfig, config)
  const manifest: Manifest = {
    schemaVersion: 2,
    mediaType: MEDIA.ociManifest,
    config: configDocument.descriptor,
    layers: allLayers,
  }
  return { config: configDocument, manifest: document(MEDIA.ociManifest, manifest), layers: allLayers }
}

function document(mediaType: string, value: unknown): { descriptor: Descriptor; bytes: Buffer } {
  const bytes = Buffer.from(canonicalJson(value))
  return { descriptor: { mediaType, digest: digestOf(bytes), size: bytes.length }, bytes }
}

function ociLayer(layer: Descriptor): Descriptor {
  return { ...layer, mediaType: OCI_NAMES.get(layer.mediaType) ?? layer.mediaType }
}

function changeConfig(base: ContainerConfig, changes: ConfigChanges): ContainerConfig {
  const { env = {}, labels = {}, exposedPorts = [], entrypoint, cmd } = changes
  const baseCmd = entrypoint === undefined ? base.Cmd : undefined
  const ports = { ...base.ExposedPorts, ...Object.fromEntries(exposedPorts.map((port) => [port, {}])) }
  const allLabels = { ...base.Labels, ...labels }
  return withoutAbsent({
    ...base,
    Env: mergeEnv(base.Env ?? [], env),
    Entrypoint: changed(base.Entrypoint, entrypoint),
    Cmd: changed(baseCmd, cmd),
    WorkingDir: changed(base.WorkingDir, changes.workingDir),
    User: changed(base.User, changes.user),
    StopSignal: changed(base.StopSignal, changes.stopSignal),
    Labels: Object.keys(allLabels).length === 0 ? undefined : allLabels,
    ExposedPorts: Object.keys(ports).length === 0 ? undefined : ports,
  })
}

function changed<T>(base: T | undefined, change: T | null | undefined): T | undefined {
  return change === undefined ? base : (change ?? undefined)
}

/** The base's variables in their order, changed ones in their place, new ones after them by name. */
function mergeEnv(base: readonly string[], env: Record<string, string>): string[] {
  const rest = new Map(Object.entries(env))
  const kept = base.map((line) => {
    const name = line.split('=', 1)[0] ?? ''
    const value = rest.get(name)
    rest.delete(name)
    return value === undefined ? line : `${name}=${value}`
  })
  const added = [...rest].map(([name, value]) => `${name}=${value}`).sort()
  return [...kept, ...added]
}

function withoutAbsent(config: { [Key in keyof ContainerConfig]: ContainerConfig[Key] | undefined }): ContainerConfig {
  return Object.fromEntries(Object.entries(config).filter(([, value]) => value !== undefined))
}
