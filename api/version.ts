import Type, { type Static } from 'typebox'
import { DigestText, Name } from './names.ts'

/** `$LATEST` is the editable version; published ones are numbers from 1. */
export const VersionName = Type.String({ pattern: '^(\\$LATEST|[1-9][0-9]{0,8})$' })

/** How a caller names a version: its name, or an alias (facts: scf-contract 6). */
export const QualifierText = Type.String({ pattern: '^(\\$LATEST|\\$DEFAULT|[A-Za-z0-9][A-Za-z0-9_-]{0,63})$' })

const limit = (maximum: number, description: string) =>
  Type.Optional(Type.Integer({ minimum: 1, maximum, description }))

/** 1 TB: what is streamed takes no memory. */
const MAX_BODY_BYTES = 2 ** 40

/** What one call of a web function may bring and take (facts: scf-contract 1.8). */
export const Limits = Type.Object(
  {
    requestBytes: limit(MAX_BODY_BYTES, 'body of a request, 6 MB'),
    responseBytes: limit(MAX_BODY_BYTES, 'body of an answer, 6 MB'),
    responseHeaderBytes: limit(32_768, 'names and values of the fields of an answer, 4 KB'),
  },
  {
    additionalProperties: false,
    description:
      'of a web call: `requestBytes` and `responseBytes` (6 MB each, up to what the namespace allows), `responseHeaderBytes` (4 KB)',
  },
)
export type Limits = Static<typeof Limits>
export const DEFAULT_LIMITS: Required<Limits> = {
  requestBytes: 6 * 1024 * 1024,
  responseBytes: 6 * 1024 * 1024,
  responseHeaderBytes: 4 * 1024,
}

/** Facts: scf-contract 1.10 and 11.7. */
export const DEFAULT_WEBSOCKET_IDLE_S = 15
export const WebSocketSettings = Type.Object(
  {
    idleTimeout: Type.Optional(
      Type.Integer({ minimum: 1, maximum: 7200, description: 's without a byte either way, 15; at most `timeout`' }),
    ),
  },
  {
    additionalProperties: false,
    description:
      '`idleTimeout`: s without a byte either way, 15; at most `timeout`, which ends a WebSocket like any call',
  },
)

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
    provisioned: Type.Integer({
      minimum: 0,
      maximum: 1000,
      default: 0,
      description: 'instances kept listening whatever the load',
    }),
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
    auth: Type.Optional(
      Type.Union([Type.Literal('none'), Type.Literal('token')], {
        description: 'who may call a web function: anybody, or who sends a token in X-Slipway-Token; none',
      }),
    ),
    limits: Type.Optional(Limits),
    websocket: Type.Optional(WebSocketSettings),
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
