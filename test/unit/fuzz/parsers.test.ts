import * as fc from 'fast-check'
import { describe, expect, it, vi } from 'vitest'
import { AppError } from '../../../common/index.ts'
import {
  formatReference,
  type Manifest,
  MEDIA,
  parseChallenges,
  parseImageConfig,
  parseManifest,
  parseReference,
} from '../../../oci/index.ts'
import { FUZZ_TIMEOUT_MS, fuzz } from '../../helpers/fuzz.ts'

vi.setConfig({ testTimeout: FUZZ_TIMEOUT_MS })

const digest = `sha256:${'a'.repeat(64)}`
const manifest = {
  schemaVersion: 2,
  mediaType: MEDIA.ociManifest,
  config: { mediaType: MEDIA.ociConfig, digest, size: 3 },
  layers: [{ mediaType: MEDIA.ociLayerGzip, digest, size: 3, annotations: { a: 'b' } }],
  annotations: { a: 'b' },
}
const index = {
  schemaVersion: 2,
  mediaType: MEDIA.ociIndex,
  manifests: [{ mediaType: MEDIA.ociManifest, digest, size: 3, platform: { os: 'linux', architecture: 'amd64' } }],
}
const config = {
  architecture: 'amd64',
  os: 'linux',
  rootfs: { type: 'layers', diff_ids: [digest] },
  config: { Env: ['A=b'], Cmd: ['a'] },
  history: [{ comment: 'a' }],
}

/** What `parse` threw must be one of these errors of ours, whose message is bounded; anything else is a fault of the parser. */
function throwsOnly(codes: readonly string[], parse: () => unknown): void {
  try {
    parse()
  } catch (thrown) {
    expect(thrown).toBeInstanceOf(AppError)
    const { code, message } = thrown as AppError
    expect(codes).toContain(code)
    expect(message.length).toBeLessThan(2_000)
  }
}

/** A document with some of its values, at any depth, replaced by anything. */
function damaged(document: unknown): fc.Arbitrary<unknown> {
  const paths = pathsOf(document)
  const edit = fc.tuple(fc.constantFrom(...paths), fc.option(fc.jsonValue({ maxDepth: 2 }), { nil: undefined }))
  return fc
    .array(edit, { minLength: 1, maxLength: 3 })
    .map((edits) => edits.reduce((value, [path, by]) => replaced(value, path, by), document))
}

function pathsOf(value: unknown, at: readonly string[] = []): string[][] {
  const below =
    typeof value === 'object' && value !== null
      ? Object.entries(value).flatMap(([key, each]) => pathsOf(each, [...at, key]))
      : []
  return [[...at], ...below]
}

function replaced(value: unknown, [key, ...rest]: readonly string[], by: unknown): unknown {
  if (key === undefined) return by
  if (typeof value !== 'object' || value === null) return value
  const copy: Record<string, unknown> | unknown[] = Array.isArray(value) ? [...(value as unknown[])] : { ...value }
  Reflect.set(copy, key, replaced(Reflect.get(copy, key), rest, by))
  return copy
}

const bytesOf = (value: unknown): Buffer => Buffer.from(JSON.stringify(value) ?? '')

/** A byte sequence with some bytes changed, left out or repeated. */
const scratched = (bytes: Buffer): fc.Arbitrary<Buffer> =>
  fc
    .array(fc.tuple(fc.nat({ max: bytes.length - 1 }), fc.nat({ max: 255 }), fc.nat({ max: 3 })), {
      minLength: 1,
      maxLength: 4,
    })
    .map((edits) =>
      edits.reduce(
        (each, [at, byte, extra]) =>
          Buffer.concat([each.subarray(0, at), Buffer.from([byte]).subarray(0, extra), each.subarray(at + 1)]),
        bytes,
      ),
    )

describe('documents from a registry that were damaged by a fuzzer', () => {
  const types = fc.constantFrom(
    MEDIA.ociManifest,
    MEDIA.ociIndex,
    MEDIA.dockerManifest,
    MEDIA.dockerIndex,
    '',
    'application/json',
  )
  const refusals = ['image-invalid', 'image-unsupported']

  it('are read as manifests or refused as invalid, never anything else', () => {
    const documents = fc.oneof(damaged(manifest), damaged(index)).map(bytesOf)
    const scratches = fc.oneof(
      scratched(bytesOf(manifest)),
      scratched(bytesOf(index)),
      fc.uint8Array({ maxLength: 200 }).map((bytes) => Buffer.from(bytes)),
    )
    const property = fc.property(fc.oneof(documents, scratches), types, (bytes, type) =>
      throwsOnly(refusals, () => {
        const read = parseManifest(bytes, type, 'a')
        const layers = read.kind === 'manifest' ? read.manifest.layers : read.index.manifests
        for (const layer of layers) expect(layer.digest).toMatch(/^sha256:[0-9a-f]{64}$/)
      }),
    )
    fc.assert(property, fuzz(1_500))
  })

  it('are read as configurations or refused as invalid, never anything else', () => {
    const documents = fc.oneof(damaged(config).map(bytesOf), scratched(bytesOf(config)))
    const property = fc.property(documents, (bytes) =>
      throwsOnly(refusals, () => parseImageConfig(bytes, manifest as unknown as Manifest, 'a')),
    )
    fc.assert(property, fuzz(1_500))
  })
})

describe('a reference made by a fuzzer', () => {
  const piece = fc.constantFrom(
    'a',
    'A',
    '0',
    '.',
    '-',
    '_',
    '__',
    '/',
    '//',
    ':',
    '@',
    '[::1]',
    'localhost',
    ':5000',
    digest,
    'sha256:',
    'sha512:',
    '%2f',
    '..',
    '\n',
    '\0',
    ' ',
    'ä',
    '🙂',
    'a'.repeat(200),
  )

  it('is refused, or means the same when it is printed and read again', () => {
    const texts = fc.oneof(
      fc.array(piece, { maxLength: 8 }).map((pieces) => pieces.join('')),
      fc.string({ maxLength: 80, unit: 'binary' }),
    )
    const property = fc.property(texts, (text) =>
      throwsOnly(['reference-invalid', 'digest-invalid'], () => {
        const read = parseReference(text, '127.0.0.1:5000')
        expect(parseReference(formatReference(read), 'other.example')).toEqual(read)
        expect(read.repository).not.toMatch(/\.\.|^\/|\/$|\/\/|[^a-z0-9._/-]/)
      }),
    )
    fc.assert(property, fuzz(1_500))
  })
})

describe('a WWW-Authenticate header made by a fuzzer', () => {
  const piece = fc.constantFrom(
    'Bearer',
    'Basic',
    ' ',
    ',',
    '=',
    '"',
    '\\',
    '\\"',
    'realm',
    'scope',
    'x',
    'a=b',
    'a="b"',
    'YWJj==',
    '\t',
    '\0',
    'ä',
    'repository:a:pull',
  )

  it('is read in bounded time, and gives names in lower case', () => {
    const headers = fc.array(piece, { maxLength: 60 }).map((pieces) => pieces.join(''))
    const property = fc.property(headers, (header) => {
      for (const { scheme, parameters } of parseChallenges(header)) {
        expect(scheme).toBe(scheme.toLowerCase())
        for (const name of parameters.keys()) expect(name).toBe(name.toLowerCase())
      }
    })
    fc.assert(property, fuzz(1_500))
  })
})
