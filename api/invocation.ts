import Type, { type Static, type TSchema } from 'typebox'

/** Milliseconds that each phase of a cold start took; a phase that did not happen is absent. */
export const ColdStart = Type.Object({
  totalMs: Type.Number(),
  phases: Type.Object({
    queue: Type.Optional(Type.Number()),
    credential: Type.Optional(Type.Number()),
    pull: Type.Optional(Type.Number()),
    unpack: Type.Optional(Type.Number()),
    create: Type.Optional(Type.Number()),
    start: Type.Optional(Type.Number()),
    listen: Type.Optional(Type.Number()),
  }),
  credential: Type.Optional(
    Type.String({ description: 'id of the pull credential of the download that the start waited for' }),
  ),
})
export type ColdStart = Static<typeof ColdStart>

/** The answer of an event call (facts: scf-contract 1.8, 1.9). */
export const InvocationResult = Type.Object({
  requestId: Type.String(),
  statusCode: Type.Integer({ description: 'the documented number, 200 for success' }),
  result: Type.Unknown({
    description: 'what the function answered; for a failure {errorCode, errorMessage, requestId, statusCode}',
  }),
  durationMs: Type.Number(),
  memoryBytes: Type.Integer(),
  coldStart: Type.Union([ColdStart, Type.Null()]),
  accepted: Type.Optional(
    Type.Literal(true, { description: 'a job: it is kept and will run; its record says how it ended' }),
  ),
  logTail: Type.Optional(Type.String({ description: 'last 4 KB of output, when asked for' })),
})
export type InvocationResult = Static<typeof InvocationResult>

const orNull = <S extends TSchema>(schema: S) => Type.Union([schema, Type.Null()])

/** What is kept of a call. */
export const InvocationRecord = Type.Object({
  requestId: Type.String(),
  callerRequestId: orNull(Type.String({ description: 'the caller’s own X-Request-Id' })),
  namespace: Type.String(),
  function: Type.String(),
  version: Type.String(),
  kind: Type.Union([Type.Literal('event'), Type.Literal('web'), Type.Literal('job')]),
  instance: orNull(Type.String()),
  startedAtMs: Type.Integer(),
  durationMs: Type.Number(),
  statusCode: Type.Integer({ description: 'the documented number' }),
  errorMessage: orNull(Type.String()),
  exitCode: Type.Optional(Type.Integer({ description: 'of a job’s process' })),
  memoryBytes: Type.Integer(),
  memoryLimitMb: Type.Integer(),
  coldStart: orNull(ColdStart),
  queueMs: Type.Optional(
    Type.Number({ description: 'how long a call without a cold start waited for an instance to become free' }),
  ),
})
export type InvocationRecord = Static<typeof InvocationRecord>
export const InvocationRecordList = Type.Object({ invocations: Type.Array(InvocationRecord) })
