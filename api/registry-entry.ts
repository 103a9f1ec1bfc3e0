import Type, { type Static } from 'typebox'

const REGISTRY_HOST = '^[A-Za-z0-9.:_\\[\\]-]{1,253}$'
export const RegistryHost = Type.String({ pattern: REGISTRY_HOST, description: 'HOST or HOST:PORT' })

const provider = Type.Union(
  [Type.Literal('none'), Type.Literal('login'), Type.Literal('ecr'), Type.Literal('ecr-public')],
  {
    description:
      'where credentials come from: none of its own (docker configuration, else anonymous), a stored login, Amazon ECR, Amazon ECR Public',
  },
)
/** What an administrator says of a foreign registry, without secrets. */
const settings = {
  region: Type.Optional(
    Type.String({ pattern: '^[a-z0-9-]{1,40}$', description: 'of ECR; default: what the host name says' }),
  ),
  roleArn: Type.Optional(
    Type.String({ maxLength: 2048, description: 'assumed for each pull, with rights narrowed to its repository' }),
  ),
  externalId: Type.Optional(Type.String({ minLength: 2, maxLength: 1224 })),
  endpoint: Type.Optional(Type.String({ maxLength: 300, description: 'of the ECR API, where it is one of your own' })),
  accessKeyId: Type.Optional(Type.String({ pattern: '^[A-Za-z0-9_]{8,128}$' })),
  realm: Type.Optional(
    Type.String({
      maxLength: 300,
      description: 'a token server on another host that may be shown the credential: https://HOST',
    }),
  ),
  plainHttp: Type.Optional(Type.Boolean({ description: 'it is spoken to without TLS' })),
  allowPrivate: Type.Optional(Type.Boolean({ description: 'it may lie in a private network, and send on to one' })),
}

export const RegistryEntry = Type.Object({
  host: Type.String(),
  provider,
  username: Type.Optional(Type.String({ description: 'of the stored login' })),
  ...settings,
  changedAtMs: Type.Integer({ minimum: 0 }),
})
export type RegistryEntry = Static<typeof RegistryEntry>
export const RegistryEntryList = Type.Object({ registries: Type.Array(RegistryEntry) })

/** Replaces what was said before; a stored login stays while no other provider is named. */
export const RegistryEntryRequest = Type.Object(
  {
    provider: Type.Optional(
      Type.Union([Type.Literal('none'), Type.Literal('ecr'), Type.Literal('ecr-public')], {
        description: 'default: what the host name says',
      }),
    ),
    ...settings,
    secretAccessKey: Type.Optional(
      Type.String({ minLength: 16, maxLength: 256, description: 'kept encrypted, never answered' }),
    ),
  },
  { additionalProperties: false },
)
export type RegistryEntryRequest = Static<typeof RegistryEntryRequest>

export const RegistryLoginRequest = Type.Object(
  {
    username: Type.String({ minLength: 1, maxLength: 1024, pattern: '^[^:\\x00-\\x1f]+$' }),
    password: Type.String({ minLength: 1, maxLength: 65_536, description: 'kept encrypted, never answered' }),
  },
  { additionalProperties: false },
)

export const RegistryTestRequest = Type.Object(
  {
    reference: Type.String({ maxLength: 600, description: 'HOST/NAME[:TAG][@DIGEST]' }),
    push: Type.Optional(Type.Boolean({ description: 'also start an upload, and cancel it' })),
  },
  { additionalProperties: false },
)

/** One step of an access to a registry: what was asked, what was answered, and what it means. */
export const RegistryStep = Type.Object({
  step: Type.String({ description: 'credential, ping, manifest, blob, push, store' }),
  ok: Type.Boolean(),
  detail: Type.String(),
  durationMs: Type.Number(),
  exchanges: Type.Array(
    Type.Object({
      asked: Type.String(),
      authorization: Type.String(),
      status: Type.Integer(),
      challenge: Type.Optional(Type.String()),
    }),
  ),
  error: Type.Optional(Type.Object({ code: Type.String(), hint: Type.Optional(Type.String()) })),
})
export type RegistryStep = Static<typeof RegistryStep>
