import { describe, expect, it } from 'vitest'
import { MAX_LAYERS, type Manifest, MEDIA, parseImageConfig, parseManifest } from '../../../oci/index.ts'

const digest = `sha256:${'a'.repeat(64)}` as const
const blob = (mediaType: string) => ({ mediaType, digest, size: 3 })
const manifest = {
  schemaVersion: 2,
  mediaType: MEDIA.ociManifest,
  config: blob(MEDIA.ociConfig),
  layers: [blob(MEDIA.ociLayerGzip)],
}
const index = { schemaVersion: 2, mediaType: MEDIA.ociIndex, manifests: [blob(MEDIA.ociManifest)] }
const config = { architecture: 'amd64', os: 'linux', rootfs: { type: 'layers', diff_ids: [digest] } }
const bytes = (value: unknown): Buffer =>
  Buffer.isBuffer(value) ? value : Buffer.from(typeof value === 'string' ? value : JSON.stringify(value))
const parse = (value: unknown, contentType: string = MEDIA.ociManifest) =>
  parseManifest(bytes(value), contentType, 'manifest a')

describe('a manifest from a registry', () => {
  it('is read with its content type, parameters aside', () => {
    expect(parse(manifest, `${MEDIA.ociManifest}; charset=utf-8`)).toEqual({ kind: 'manifest', manifest })
    expect(parse(index, MEDIA.ociIndex)).toEqual({ kind: 'index', index })
  })

  it('may leave its media type to the content type, and the other way round', () => {
    const { mediaType: _, ...unnamed } = manifest
    expect(parse(unnamed).kind).toBe('manifest')
    expect(parse(manifest, '').kind).toBe('manifest')
  })

  const layer = manifest.layers[0]
  const invalid: [string, unknown, string?][] = [
    ['is no JSON', '{"schemaVersion":2'],
    ['is no UTF-8', Buffer.from(JSON.stringify({ ...manifest, annotations: { a: 'ÿ' } }), 'latin1')],
    ['is no object', '[]'],
    ['is null', 'null'],
    ['calls itself something else than its content type', manifest, MEDIA.ociIndex],
    ['has layers and manifests', { ...manifest, manifests: [] }],
    ['has a media type that is no text', { ...manifest, mediaType: {} }],
    ['has no configuration', { ...manifest, config: undefined }],
    ['has a negative size', { ...manifest, layers: [{ ...layer, size: -1 }] }],
    ['has a size that is no integer', { ...manifest, layers: [{ ...layer, size: 1.5 }] }],
    ['has a size over 2^53', { ...manifest, layers: [{ ...layer, size: 2 ** 60 }] }],
    ['has a size in words', { ...manifest, layers: [{ ...layer, size: '3' }] }],
    ['has a malformed digest', { ...manifest, layers: [{ ...layer, digest: 'sha256:../../etc' }] }],
    ['has a digest with a line end', { ...manifest, layers: [{ ...layer, digest: `${digest}\n` }] }],
    ['has a digest of another algorithm', { ...manifest, layers: [{ ...layer, digest: `md5:${'a'.repeat(32)}` }] }],
    ['has too many layers', { ...manifest, layers: Array.from({ length: MAX_LAYERS + 1 }, () => layer) }],
    ['is of another schema version', { ...manifest, schemaVersion: 3 }],
  ]
  it.each(invalid)('that %s is refused as invalid', (_title, document, contentType) => {
    const thrown = expect.objectContaining({
      code: 'image-invalid',
      message: expect.stringContaining('manifest a is invalid'),
    })
    expect(() => parse(document, contentType)).toThrow(thrown)
  })

  const unsupported: [string, unknown, string][] = [
    ['schema 1 by its content type', {}, 'application/vnd.docker.distribution.manifest.v1+prettyjws'],
    ['schema 1 by its version', { schemaVersion: 1 }, 'application/json'],
    ['of an unknown type', { schemaVersion: 2, layers: [] }, 'application/json'],
  ]
  it.each(unsupported)('%s is refused by name', (_title, document, contentType) => {
    expect(() => parse(document, contentType)).toThrow(expect.objectContaining({ code: 'image-unsupported' }))
  })
})

describe('an image configuration from a registry', () => {
  const read = (value: unknown, of: unknown = manifest) => parseImageConfig(bytes(value), of as Manifest, 'image a')

  it('comes back without members that are null', () => {
    const nulls = {
      ...config,
      created: null,
      config: { Env: null, Cmd: ['a'], Labels: null },
      history: [{ comment: null }],
    }
    expect(read(nulls)).toEqual({ ...config, config: { Cmd: ['a'] }, history: [{}] })
    expect(read({ ...config, config: null })).toEqual(config)
  })

  it('must have one diff id for each layer', () => {
    const two = { ...config, rootfs: { type: 'layers', diff_ids: [digest, digest] } }
    expect(() => read(two)).toThrow('image a is invalid: it has 1 layers but 2 diff ids')
  })

  const invalid: [string, unknown][] = [
    ['has no platform', { rootfs: config.rootfs }],
    ['has arguments that are no texts', { ...config, config: { Cmd: [1] } }],
    ['has a malformed diff id', { ...config, rootfs: { type: 'layers', diff_ids: ['x'] } }],
  ]
  it.each(invalid)('that %s is refused', (_title, document) => {
    expect(() => read(document)).toThrow(expect.objectContaining({ code: 'image-invalid' }))
  })

  it('of something that is no container image is refused by name', () => {
    const chart = { ...manifest, config: blob('application/vnd.cncf.helm.config.v1+json') }
    expect(() => read(config, chart)).toThrow(expect.objectContaining({ code: 'image-unsupported' }))
  })
})
