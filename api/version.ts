import Type, { type Static } from 'typebox'
import { DigestText, Name } from './names.ts'

/** `$LATEST` is the editable version; published ones are numbers from 1. */
export const VersionName = Type.String({ pattern: '^(\\$LATEST|[1-9][0-9]{0,8})$' })

/** How a caller names a version: its name, or an alias (facts: scf-contract 6). */
export const QualifierText = Type.String({ pattern: '^(\\$LATEST|\\$DEFAULT|[A-Za-z0-9][A-Za-z0-9_-]{0,63})$' })

/** The settings of a function that decide how its instances run and its calls are served. Units are in the names' descriptions. */
export const Settings = Type.Object(
  {
    type: Type.Union([Type.Literal('event'), Type.Literal('web'), Type.Literal('job')], { default: 'event' }),
    command: Type.Optional(
      Type.Array(Type.String({ maxLength: 131072 }), { description: 'replaces ENTRYPOINT', maxItems: 256 }),
    ),
    args: Type.Optional(Type.Array(Type.String({ maxLength: 131072 }), { description: 'replaces CMD', maxItems: 256 })),
    env: Type.Record(Type.String(), Type.String(), { default: {}, description: 'at most 4 KB in all' }),
    memory: Type.Integer({ minimum: 64, maximum: 122880, default: 128, description: 'MB' }),
    timeout: Type.Integer({ minimum: 1, maximum: 900, default: 3, description: 's, execution of one call' }),
    initTimeout: Type.Integer({ minimum: 3, maximum: 300, default: 90, description: 's, pull and start' }),
    concurrency: Type.Integer({ minimum: 1, maximum: 100, default: 1, description: 'calls at once in an instance' }),
    maxInstances: Type.Optional(Type.Integer({ minimum: 1, maximum: 10000, description: 'hard cap' })),
    prewarm: Type.Integer({
      minimum: 0,
      maximum: 1000,
      default: 0,
      description: 'instances kept created but not started',
    }),
    keepAlive: Type.Integer({
      minimum: 0,
      maximum: 86400,
      default: 300,
      description: 's, idle time before an instance ends',
    }),
  },
  { additionalProperties: false },
)
export type Settings = Static<typeof Settings>

/** An immutable snapshot of a function: image digest and settings. */
export const Version = Type.Object(
  {
    namespace: Name,
    function: Name,
    version: VersionName,
    /** Changes with each update of `$LATEST`, so that old instances are told from new ones. */
    revision: Type.Integer({ minimum: 1 }),
    image: Type.Object({
      registry: Type.String(),
      repository: Type.String(),
      tag: Type.Optional(Type.String()),
      /** What the tag pointed to at deploy: a manifest or an index. */
      digest: DigestText,
      /** The manifest of this machine's platform: what engines start. */
      platformDigest: DigestText,
      sizeBytes: Type.Integer(),
    }),
    settings: Settings,
    createdAtMs: Type.Integer(),
  },
  { additionalProperties: false },
)
export type Version = Static<typeof Version>
