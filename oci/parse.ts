import { AppError, type Shape, Type } from '../common/index.ts'
import { type ImageConfig, type Index, type Manifest, MEDIA } from './manifest.ts'

/** Bounds of what is read from registries: documents of 4 MiB (distribution specification), 500 layers, 200 platforms. */
export const MAX_MANIFEST_BYTES = 4 * 1024 * 1024
export const MAX_CONFIG_BYTES = 4 * 1024 * 1024
export const MAX_LAYERS = 500

const DigestSchema = Type.String({ pattern: '^sha256:[0-9a-f]{64}$' })
const Text = Type.String({ maxLength: 4096 })
const Texts = Type.Array(Type.String({ maxLength: 131_072 }), { maxItems: 4096 })
const Annotations = Type.Record(Type.String(), Type.String())
const Marks = Type.Record(Type.String(), Type.Object({}))
const nullable = <T>(shape: Shape<T>) => Type.Optional(Type.Union([shape, Type.Null()]))

const DescriptorSchema = Type.Object({
  mediaType: Type.String({ minLength: 1, maxLength: 256 }),
  digest: DigestSchema,
  size: Type.Integer({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER }),
  platform: Type.Optional(Type.Object({ os: Text, architecture: Text, variant: Type.Optional(Text) })),
  urls: Type.Optional(Type.Array(Text, { maxItems: 100 })),
  annotations: Type.Optional(Annotations),
})

const ManifestSchema = Type.Object({
  schemaVersion: Type.Literal(2),
  mediaType: Type.Optional(Text),
  config: DescriptorSchema,
  layers: Type.Array(DescriptorSchema, { maxItems: MAX_LAYERS }),
  annotations: Type.Optional(Annotations),
})

const IndexSchema = Type.Object({
  schemaVersion: Type.Literal(2),
  mediaType: Type.Optional(Text),
  manifests: Type.Array(DescriptorSchema, { maxItems: 200 }),
  annotations: Type.Optional(Annotations),
})

/** Builders write absent members of `config` as null as well as leaving them out. */
const ConfigSchema = Type.Object({
  architecture: Text,
  os: Text,
  variant: Type.Optional(Text),
  created: nullable(Text),
  config: nullable(
    Type.Object({
      User: nullable(Text),
      Env: nullable(Texts),
      Entrypoint: nullable(Texts),
      Cmd: nullable(Texts),
      WorkingDir: nullable(Text),
      StopSignal: nullable(Text),
      ExposedPorts: nullable(Marks),
      Labels: nullable(Annotations),
      Volumes: nullable(Marks),
    }),
  ),
  rootfs: Type.Object({ type: Type.Literal('layers'), diff_ids: Type.Array(DigestSchema, { maxItems: MAX_LAYERS }) }),
  history: nullable(
    Type.Array(
      Type.Object({
        created: nullable(Text),
        created_by: nullable(Type.String()),
        empty_layer: nullable(Type.Boolean()),
        comment: nullable(Type.String()),
      }),
      { maxItems: 4096 },
    ),
  ),
})

/** What a manifest address answered: one image, or the list of images for several platforms. */
export type ManifestDocument = { kind: 'manifest'; manifest: Manifest } | { kind: 'index'; index: Index }

const INDEX_TYPES: readonly string[] = [MEDIA.ociIndex, MEDIA.dockerIndex]
const MANIFEST_TYPES: readonly string[] = [MEDIA.ociManifest, MEDIA.dockerManifest]
const SCHEMA_1 = /^application\/vnd\.docker\.distribution\.manifest\.v1\+/

/** The types that are asked for with `Accept`. */
export const MANIFEST_ACCEPT = [...MANIFEST_TYPES, ...INDEX_TYPES].join(', ')

/**
 * Reads a manifest or an index from its raw bytes. `contentType` is the answer's header; where the document names a media
 * type of its own, both must agree. Throws `image-unsupported` for what Slipway does not run (schema 1, artifacts of other
 * kinds) and `image-invalid` for what breaks the specification.
 */
export function parseManifest(bytes: Uint8Array, contentType: string, what: string): ManifestDocument {
  const type = contentType.split(';')[0]?.trim().toLowerCase() ?? ''
  if (SCHEMA_1.test(type))
    throw unsupported(what, 'it is in the old format schema 1', 'push the image again with a current tool')
  const document = parseJson(bytes, what)
  const own: unknown = Reflect.get(document, 'mediaType')
  if (own !== undefined && typeof own !== 'string') throw invalid(what, 'its media type is no text')
  if (Reflect.get(document, 'schemaVersion') === 1) {
    throw unsupported(what, 'it is in the old format schema 1', 'push the image again with a current tool')
  }
  if (own !== undefined && type !== '' && own !== type) {
    throw invalid(what, `it was sent as ${type} but calls itself ${own.slice(0, 100)}`)
  }
  if (Reflect.has(document, 'layers') && Reflect.has(document, 'manifests')) {
    throw invalid(what, 'it claims to be an image and an index at once')
  }
  const mediaType = type === '' ? (own ?? '') : type
  if (INDEX_TYPES.includes(mediaType)) {
    check(IndexSchema, document, what)
    return { kind: 'index', index: document as Index }
  }
  if (MANIFEST_TYPES.includes(mediaType)) {
    check(ManifestSchema, document, what)
    return { kind: 'manifest', manifest: document as Manifest }
  }
  throw unsupported(what, `its media type is "${mediaType.slice(0, 100)}"`, 'only OCI and Docker schema 2 images run')
}

/** Reads the configuration that belongs to `manifest`: one diff id for each layer. Members that are null come back absent. */
export function parseImageConfig(bytes: Uint8Array, manifest: Manifest, what: string): ImageConfig {
  const { mediaType } = manifest.config
  if (mediaType !== MEDIA.ociConfig && mediaType !== MEDIA.dockerConfig) {
    throw unsupported(what, `its configuration is of type ${mediaType}`, 'only container images run')
  }
  const document = parseJson(bytes, what)
  check(ConfigSchema, document, what)
  const config = withoutNulls(document as ImageConfig)
  const layers = manifest.layers.length
  const diffIds = config.rootfs.diff_ids.length
  if (layers !== diffIds) throw invalid(what, `it has ${layers} layers but ${diffIds} diff ids`)
  return config
}

function parseJson(bytes: Uint8Array, what: string): object {
  let document: unknown
  try {
    document = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes))
  } catch (cause) {
    throw invalid(what, 'it is no JSON', cause)
  }
  if (typeof document !== 'object' || document === null || Array.isArray(document))
    throw invalid(what, 'it is no object')
  return document
}

function check(shape: Shape, document: object, what: string): void {
  const problem = shape.problem(document)
  if (problem !== undefined) throw invalid(what, problem.startsWith('/') ? problem : `it${problem}`)
}

/** A copy without null members, at the depths where builders write them. */
function withoutNulls(config: ImageConfig): ImageConfig {
  const strip = <T extends object>(value: T): T =>
    Object.fromEntries(Object.entries(value).filter(([, member]) => member !== null)) as T
  const top = strip(config)
  return {
    ...top,
    ...(top.config === undefined ? {} : { config: strip(top.config) }),
    ...(top.history === undefined ? {} : { history: top.history.map(strip) }),
  }
}

function invalid(what: string, why: string, cause?: unknown): AppError {
  return new AppError(`${what} is invalid: ${why}`, {
    code: 'image-invalid',
    fault: 'user',
    hint: 'build and push the image again',
    cause,
  })
}

export function unsupported(what: string, why: string, hint: string): AppError {
  return new AppError(`${what} cannot be used: ${why}`, { code: 'image-unsupported', fault: 'user', hint })
}
