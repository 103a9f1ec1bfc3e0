import { type Static, Type } from 'typebox'
import { Compile } from 'typebox/compile'

/**
 * What the store and its content worker say to each other over the child's channel. A credential travels here and nowhere else: not in arguments, not
 * in the environment, not on disk. Both sides check every message.
 */
const object = Type.Object
const id = Type.Integer({ minimum: 1 })
const count = Type.Integer({ minimum: 0 })
const text = (maxLength: number) => Type.String({ maxLength })
const digest = Type.String({ pattern: '^sha256:[0-9a-f]{64}$' })

const credential = Type.Union([
  object({ kind: Type.Literal('anonymous') }),
  object({
    kind: Type.Literal('basic'),
    username: text(1024),
    password: text(65_536),
    expiresAtMs: Type.Optional(count),
  }),
  object({ kind: Type.Literal('bearer'), token: text(65_536), expiresAtMs: Type.Optional(count) }),
])

const pull = object({
  op: Type.Literal('pull'),
  id,
  registry: text(300),
  repository: text(300),
  digest,
  credential,
})
const collect = object({
  op: Type.Literal('collect'),
  id,
  maxBytes: Type.Number({ minimum: 0 }),
  minAgeMs: Type.Number({ minimum: 0 }),
})
const cancel = object({ op: Type.Literal('cancel'), id })

const pulled = object({ downloadedBytes: count, pullMs: Type.Number(), unpackMs: Type.Number() })
const collected = object({ removedBytes: count, removedLayers: count })

const plainError = object({
  code: text(100),
  message: text(16_384),
  fault: Type.Union([Type.Literal('user'), Type.Literal('system'), Type.Literal('dependency')]),
  retryable: Type.Boolean(),
  hint: Type.Optional(text(4096)),
  details: Type.Record(Type.String(), Type.Unknown()),
})
const answer = Type.Union([object({ id, pulled }), object({ id, collected }), object({ id, error: plainError })])

const request = Type.Union([pull, collect, cancel])

export type WorkerRequest = Static<typeof request>
export type WorkerTask = Exclude<WorkerRequest, { op: 'cancel' }>
export type WorkerAnswer = Static<typeof answer>
export type PullFigures = Static<typeof pulled>
export type CollectFigures = Static<typeof collected>

const requestSchema = Compile(request)
const answerSchema = Compile(answer)

/** The message if it is one, else undefined. */
export function asRequest(message: unknown): WorkerRequest | undefined {
  return requestSchema.Check(message) ? message : undefined
}

export function asAnswer(message: unknown): WorkerAnswer | undefined {
  return answerSchema.Check(message) ? message : undefined
}

/** How the worker was told to work: `argv[2]`, no secret in it. */
export const WorkerSettings = object({
  directory: text(4096),
  limits: object({ maxLayerBytes: count, maxEntries: count, minFreeBytes: count }),
})
export type WorkerSettings = Static<typeof WorkerSettings>
