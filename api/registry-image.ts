import Type, { type Static } from 'typebox'

const count = Type.Integer({ minimum: 0 })
const text = Type.String()

/** One image of the local registry: a manifest or an index, with what names it and what uses it. */
export const RegistryImage = Type.Object({
  repository: text,
  digest: text,
  tags: Type.Array(text),
  mediaType: text,
  sizeBytes: Type.Integer({ minimum: 0, description: 'compressed, all blobs that it leads to' }),
  pushedAtMs: count,
  usedBy: Type.Array(Type.Object({ namespace: text, function: text, revision: count })),
})
export type RegistryImage = Static<typeof RegistryImage>

export const RegistryCollectionRequest = Type.Object(
  {
    untaggedMs: Type.Optional(
      Type.Integer({ minimum: 0, description: 'images without a tag that nothing uses go when older; default 24 h' }),
    ),
  },
  { additionalProperties: false },
)
export type RegistryCollectionRequest = Static<typeof RegistryCollectionRequest>

export const RegistryCollected = Type.Object({
  removedImages: count,
  keptImages: count,
  freedBytes: count,
  /** For how long pushes were not taken. */
  pausedMs: count,
})
export type RegistryCollected = Static<typeof RegistryCollected>

/** What a collection is doing, told as it begins; the last line says how it ended. */
export const RegistryCollectionStep = Type.Object({
  step: Type.Union([
    Type.Literal('paused'),
    Type.Literal('removed'),
    Type.Literal('collecting'),
    Type.Literal('done'),
    Type.Literal('failed'),
  ]),
  detail: text,
  /** With `done`. */
  result: Type.Optional(RegistryCollected),
  /** With `failed`. */
  code: Type.Optional(text),
})
export type RegistryCollectionStep = Static<typeof RegistryCollectionStep>

export const RegistryKey = Type.Object({
  rotatedAtMs: count,
  notAfterMs: Type.Integer({ minimum: 0, description: 'end of the certificate; it is replaced long before' }),
})
