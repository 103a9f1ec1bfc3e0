import { AppError, fits, type Static, Type } from '../common/index.ts'
import { Credential, MAX_CONFIG_BYTES, MAX_MANIFEST_BYTES } from '../oci/index.ts'

/**
 * What the store and its content worker say to each other over the child's channel. A credential travels here and nowhere else: not in arguments, not
 * in the environment, not on disk. Both sides check every message.
 */
const object = Type.Object
const id = Type.Integer({ minimum: 1 })
const count = Type.Integer({ minimum: 0 })
const text = (maxLength: number) => Type.String({ maxLength })
const digest = Type.String({ pattern: '^sha256:[0-9a-f]{64}$' })

const pull = object({
  op: Type.Literal('pull'),
  id,
  registry: text(300),
  repository: text(300),
  digest,
  credential: Credential,
})
/** An image that somebody else has made on this machine: its documents, and a file for each compressed layer. */
const add = object({
  op: Type.Literal('add'),
  id,
  manifest: text(MAX_MANIFEST_BYTES),
  config: text(MAX_CONFIG_BYTES),
  files: Type.Record(Type.String({ pattern: '^sha256:[0-9a-f]{64}$' }), text(4096)),
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

const request = Type.Union([pull, add, collect, cancel])

export type WorkerRequest = Static<typeof request>
export type WorkerTask = Exclude<WorkerRequest, { op: 'cancel' }>
export type WorkerAnswer = Static<typeof answer>
export type PullFigures = Static<typeof pulled>
export type CollectFigures = Static<typeof collected>

/** The message if it is one, else undefined. */
export function asRequest(message: unknown): WorkerRequest | undefined {
  return fits(request, message) ? message : undefined
}

export function asAnswer(message: unknown): WorkerAnswer | undefined {
  return fits(answer, message) ? message : undefined
}

/** How the worker was told to work: `argv[2]`, no secret in it. */
const WorkerSettings = object({
  directory: text(4096),
  limits: object({ maxLayerBytes: count, maxEntries: count, minFreeBytes: count }),
})
export type WorkerSettings = Static<typeof WorkerSettings>

export function readSettings(text = 'null'): WorkerSettings {
  const value: unknown = JSON.parse(text)
  if (fits(WorkerSettings, value)) return value
  throw new AppError('the content worker was started without its settings', { code: 'internal' })
}
