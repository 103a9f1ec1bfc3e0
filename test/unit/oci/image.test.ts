import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  buildImage,
  type ConfigChanges,
  type ContainerConfig,
  canonicalJson,
  digestOf,
  type ImageConfig,
  MEDIA,
  type NewLayer,
} from '../../../oci/index.ts'

const digest = (name: string) => digestOf(name)
const layer = (name: string): NewLayer => ({
  descriptor: { mediaType: MEDIA.ociLayerGzip, digest: digest(`${name} gzip`), size: 7 },
  diffId: digest(name),
  createdBy: name,
})

function build(baseConfig: ContainerConfig, changes?: ConfigChanges) {
  const config: ImageConfig = {
    os: 'linux',
    architecture: 'amd64',
    created: '2001-01-01T00:00:00Z',
    config: baseConfig,
    rootfs: { type: 'layers', diff_ids: [digest('base')] },
    history: [{ created_by: 'base' }, { created_by: 'ENV', empty_layer: true }],
  }
  const baseLayer = { mediaType: MEDIA.dockerLayerGzip, digest: digest('base gzip'), size: 5 }
  return buildImage({
    base: { manifest: { layers: [baseLayer] }, config },
    layers: [layer('one'), layer('two')],
    ...(changes === undefined ? {} : { changes }),
  })
}
const configOf = (image: ReturnType<typeof build>) => JSON.parse(image.config.bytes.toString()) as ImageConfig

describe('an image built on a base', () => {
  it('has the layers of the base, then its own, under OCI names', () => {
    const image = build({})
    expect(image.layers.map(({ mediaType, size }) => `${mediaType} ${size}`)).toEqual([
      `${MEDIA.ociLayerGzip} 5`,
      `${MEDIA.ociLayerGzip} 7`,
      `${MEDIA.ociLayerGzip} 7`,
    ])
    expect(configOf(image).rootfs.diff_ids).toEqual([digest('base'), digest('one'), digest('two')])
    expect(configOf(image).history?.map(({ created_by }) => created_by)).toEqual(['base', 'ENV', 'one', 'two'])
  })

  it('is described by the digests of its documents, which do not depend on the time', () => {
    const image = build({})
    expect(image.manifest.descriptor.digest).toBe(digestOf(image.manifest.bytes))
    const manifest: unknown = JSON.parse(image.manifest.bytes.toString())
    expect(manifest).toEqual({
      schemaVersion: 2,
      mediaType: MEDIA.ociManifest,
      config: image.config.descriptor,
      layers: image.layers,
    })
    expect(configOf(image).created).toBe('1980-01-02T00:00:00Z')
    expect(build({})).toEqual(image)
  })

  const changes: [string, ContainerConfig, ConfigChanges, ContainerConfig][] = [
    [
      'keeps what is not changed',
      { User: 'a', Cmd: ['x'], Volumes: { '/v': {} } },
      {},
      { User: 'a', Cmd: ['x'], Volumes: { '/v': {} }, Env: [] },
    ],
    [
      'replaces variables in their place and adds new ones by name',
      { Env: ['A=1', 'B=2', 'C'] },
      { env: { B: '3', Z: 'z', D: 'd=d' } },
      { Env: ['A=1', 'B=3', 'C', 'D=d=d', 'Z=z'] },
    ],
    [
      'drops the command that belonged to a replaced entrypoint',
      { Entrypoint: ['a'], Cmd: ['b'] },
      { entrypoint: ['c'] },
      { Entrypoint: ['c'], Env: [] },
    ],
    [
      'takes entrypoint and command together',
      { Cmd: ['b'] },
      { entrypoint: ['c'], cmd: ['d'] },
      { Entrypoint: ['c'], Cmd: ['d'], Env: [] },
    ],
    [
      'removes what is null',
      { User: 'a', WorkingDir: '/w', Entrypoint: ['a'] },
      { user: null, workingDir: null, entrypoint: null },
      { Env: [] },
    ],
    [
      'adds labels and ports',
      { Labels: { a: '1' } },
      { labels: { b: '2' }, exposedPorts: ['9000/tcp'] },
      { Env: [], Labels: { a: '1', b: '2' }, ExposedPorts: { '9000/tcp': {} } },
    ],
  ]
  it.each(changes)('%s', (_title, base, change, expected) => {
    expect(configOf(build(base, change)).config).toEqual(expected)
  })
})

describe('canonical JSON', () => {
  it('sorts members at every depth, keeps the order of lists, and has no blanks', () => {
    expect(canonicalJson({ b: [{ d: 1, c: 2 }, 1], a: undefined, A: null })).toBe('{"A":null,"b":[{"c":2,"d":1},1]}')
  })

  it('reads back equal, and has one spelling whatever the order of members', () => {
    fc.assert(
      fc.property(fc.jsonValue(), (value) => {
        const text = canonicalJson(value)
        expect(canonicalJson(JSON.parse(text))).toBe(text)
        expect(JSON.parse(text)).toEqual(JSON.parse(JSON.stringify(value)))
      }),
    )
  })
})
