import { type Static, Type } from '../common/index.ts'

/**
 * What a registry's entry allows its clients beyond the rules of endpoint.ts. Nothing of it holds unless an administrator wrote it down.
 * `realm`: origin of the registry's token server on another host, `https://auth.example.com`. `plainHttp`: the registry (and that
 * token server) speaks plain HTTP though it is not loopback. `allowPrivate`: it, its token server and what it sends on to may lie
 * in private networks; link-local addresses never.
 */
const Reach = Type.Object({
  realm: Type.Optional(Type.String({ maxLength: 300 })),
  plainHttp: Type.Optional(Type.Boolean()),
  allowPrivate: Type.Optional(Type.Boolean()),
})
export type Reach = Static<typeof Reach>

const common = {
  /** ms since 1970; it must not be used from then on. */
  expiresAtMs: Type.Optional(Type.Integer({ minimum: 0 })),
  /** Where it came from, for messages and records: `docker-config /root/.docker/config.json`. Never a secret. */
  source: Type.Optional(Type.String({ maxLength: 300 })),
  reach: Type.Optional(Reach),
}

/**
 * A credential for one registry, and where it may be carried. `identity` is a refresh token, which only token servers take.
 * The secret is held in memory only. This shape is also the one in which it crosses from process to process.
 */
export const Credential = Type.Union([
  Type.Object({ kind: Type.Literal('anonymous'), ...common }),
  Type.Object({
    kind: Type.Literal('basic'),
    username: Type.String({ maxLength: 1024 }),
    password: Type.String({ maxLength: 65_536 }),
    ...common,
  }),
  Type.Object({ kind: Type.Literal('bearer'), token: Type.String({ maxLength: 65_536 }), ...common }),
  Type.Object({ kind: Type.Literal('identity'), token: Type.String({ maxLength: 65_536 }), ...common }),
])
export type Credential = Static<typeof Credential>
