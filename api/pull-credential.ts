import Type, { type Static, type TSchema } from 'typebox'

const orNull = <S extends TSchema>(schema: S) => Type.Union([schema, Type.Null()])
const instant = Type.Integer({ minimum: 0, description: 'ms since 1970' })

export const PULL_CREDENTIAL_ID = '^temporary-[0-9a-f]{18}$'

/** One start that waited for a download; its namespace's own right to the repository was checked. */
export const PullCredentialStart = Type.Object({
  namespace: Type.String(),
  function: Type.String(),
  version: Type.String({ description: 'VERSION@REVISION' }),
  instance: orNull(Type.String({ description: 'what became of it; null while it is not made, or when it failed' })),
  joinedAtMs: instant,
  requestIds: Type.Array(Type.String(), { description: 'the calls that waited for this start' }),
})

/** What is kept of the credential of one download. Never the secret. */
export const PullCredentialEntry = Type.Object({
  id: Type.String({ pattern: PULL_CREDENTIAL_ID }),
  namespace: Type.String({ description: 'of the start that it was made for' }),
  registry: Type.String(),
  repository: Type.String(),
  provider: Type.String({ description: 'where it came from: `local` is the token server of the local registry' }),
  madeAtMs: instant,
  deadlineMs: Type.Integer({ minimum: 0, description: 'ms since 1970; refused from then on whatever happens' }),
  firstUsedAtMs: orNull(instant),
  endedAtMs: orNull(instant),
  endReason: orNull(Type.String()),
  bearers: Type.Integer({ minimum: 0, description: 'tokens that it was exchanged for' }),
  starts: Type.Array(PullCredentialStart),
})
export type PullCredentialEntry = Static<typeof PullCredentialEntry>
export const PullCredentialList = Type.Object({ credentials: Type.Array(PullCredentialEntry) })
