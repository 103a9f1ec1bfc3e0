import Type, { type Static } from 'typebox'
import { Name } from './names.ts'

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
export const InstanceList = Type.Object({ instances: Type.Array(Instance) })
export const Stopped = Type.Object({ stopped: count })

/** A tenant: what its functions may ask for. */
export const Namespace = Type.Object({
  name: Name,
  maxEnvBytes: Type.Integer({ minimum: 0, maximum: 2_097_152, description: 'environment of a function, in all' }),
  maxMemoryMb: Type.Integer({ minimum: 64, maximum: 122_880 }),
  createdAtMs: count,
})
export type Namespace = Static<typeof Namespace>
export const NamespaceList = Type.Object({ namespaces: Type.Array(Namespace) })
export const NamespaceRequest = Type.Partial(Type.Pick(Namespace, ['maxEnvBytes', 'maxMemoryMb']), {
  additionalProperties: false,
})

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
