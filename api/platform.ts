import Type, { type Static } from 'typebox'
import { Name } from './names.ts'
import { DEFAULT_BOUNDS } from './settings.ts'

const count = Type.Integer({ minimum: 0 })

export const Health = Type.Object({ status: Type.Literal('ok'), version: Type.String() })

export const Status = Type.Object({
  version: Type.String(),
  ready: Type.Boolean(),
  engine: Type.String(),
  processes: Type.Array(Type.Object({ role: Type.String(), pid: count })),
  instances: Type.Record(Type.String(), count, { description: 'how many in each state' }),
})
export type Status = Static<typeof Status>

export const Instance = Type.Object({
  id: Type.String(),
  version: Type.String(),
  state: Type.String(),
  ageMs: Type.Number(),
  memoryBytes: count,
  calls: count,
  reason: Type.String({ description: 'why it exists' }),
})
export const Provisioned = Type.Object({
  wanted: count,
  ready: count,
  problem: Type.Optional(Type.String({ description: 'why fewer listen than are wanted' })),
})
export const InstanceList = Type.Object({
  instances: Type.Array(Instance),
  provisioned: Type.Optional(Provisioned),
})
export const Stopped = Type.Object({ stopped: count })

/**
 * `REPOSITORY` of the local registry or `HOST/REPOSITORY` of another one; `/*` at the end means all below, `*` alone all, and the host `*` every
 * other registry.
 */
const PullPattern = Type.String({
  pattern: '^((\\*|[a-z0-9.:_-]+)/)?(\\*|[a-z0-9]+([._/-]+[a-z0-9]+)*(/\\*)?)$',
  maxLength: 300,
})

/** A tenant: what its functions may ask for. */
export const Namespace = Type.Object({
  name: Name,
  maxEnvBytes: Type.Integer({ minimum: 0, maximum: 2_097_152, description: 'environment of a function, in all' }),
  maxMemoryMb: Type.Integer({ minimum: 64, maximum: 122_880 }),
  maxBodyBytes: Type.Optional(
    Type.Integer({ minimum: 0, maximum: 2 ** 40, description: 'body of a web call, what `limits` may ask for; 1 GB' }),
  ),
  pull: Type.Array(PullPattern, {
    maxItems: 64,
    description: 'repositories beyond NAMESPACE/* whose images its functions may run',
  }),
  startsPerMinute: Type.Optional(
    Type.Integer({ minimum: 1, maximum: 100_000, description: 'instances started in a minute, default 500' }),
  ),
  createdAtMs: count,
})
/** Facts: scf-contract 10, burst. */
export const DEFAULT_STARTS_PER_MINUTE = 500
export type Namespace = Static<typeof Namespace>
/** A new namespace: its own repositories, and whatever it can reach in other registries. */
export const DEFAULT_NAMESPACE_SETTINGS = { ...DEFAULT_BOUNDS, pull: ['*/*'] }
export const NamespaceList = Type.Object({ namespaces: Type.Array(Namespace) })
export const NamespaceRequest = Type.Partial(
  Type.Pick(Namespace, ['maxEnvBytes', 'maxMemoryMb', 'maxBodyBytes', 'pull', 'startsPerMinute']),
  {
    additionalProperties: false,
  },
)

/** Repositories of base images lie below this; no namespace can have the name. */
export const BASE_REPOSITORIES = 'slipway_base'

/** A user name and password for `docker login` and pushes, below one prefix of repositories, for a short while. */
export const RegistryCredential = Type.Object({
  registry: Type.String(),
  username: Type.String(),
  password: Type.String(),
  repositories: Type.String({ description: 'NAMESPACE/*' }),
  expiresAtMs: count,
})
export type RegistryCredential = Static<typeof RegistryCredential>

/** `ACTION[,ACTION]:REPOSITORY`, for example `pull,push:default/*`; the token server checks the rest. */
const RegistryRight = Type.String({ pattern: '^[a-z,]{1,64}:[a-z0-9._/*-]{1,255}$' })
export const RegistryUser = Type.Object({ username: Type.String(), allow: Type.Array(Type.String()) })
export type RegistryUser = Static<typeof RegistryUser>
export const RegistryUserList = Type.Object({ users: Type.Array(RegistryUser) })
export const RegistryRights = Type.Object(
  { allow: Type.Array(RegistryRight, { minItems: 1, maxItems: 64 }) },
  { additionalProperties: false },
)
export const RegistryUserRequest = Type.Object(
  { username: Type.String({ maxLength: 63 }), ...RegistryRights.properties },
  { additionalProperties: false },
)
export const RegistryLogin = Type.Object({ username: Type.String(), password: Type.String() })
