import { describe, expect, it } from 'vitest'
import {
  checkLayers,
  choosePlatform,
  type Descriptor,
  layerCompression,
  MEDIA,
  type Platform,
} from '../../../oci/index.ts'

const amd64 = { os: 'linux', architecture: 'amd64' }
const entry = (name: string, platform?: Platform, annotations?: Record<string, string>): Descriptor => ({
  mediaType: MEDIA.ociManifest,
  digest: `sha256:${name.padEnd(64, '0')}`,
  size: 1,
  ...(platform === undefined ? {} : { platform }),
  ...(annotations === undefined ? {} : { annotations }),
})
const choose = (manifests: Descriptor[], wanted: Platform = amd64) =>
  choosePlatform({ schemaVersion: 2, manifests }, wanted, 'image a')

describe('the entry of an index for a platform', () => {
  const a = entry('a', amd64)
  const arm = entry('b', { os: 'linux', architecture: 'arm64', variant: 'v8' })
  const attestation = entry(
    'c',
    { os: 'unknown', architecture: 'unknown' },
    { 'vnd.docker.reference.type': 'attestation-manifest' },
  )

  it('is the one of its system and architecture', () => {
    expect(choose([attestation, arm, a])).toBe(a)
    expect(choose([a, arm], { os: 'linux', architecture: 'arm64' })).toBe(arm)
  })

  it('is the plainest of several variants, and never one above the baseline', () => {
    const v1 = entry('d', { ...amd64, variant: 'v1' })
    const v3 = entry('e', { ...amd64, variant: 'v3' })
    expect(choose([v3, v1])).toBe(v1)
    expect(choose([v3, v1, a])).toBe(a)
    expect(() => choose([v3])).toThrow('it has no image for linux/amd64 but for linux/amd64/v3')
    expect(choose([a, v3], { ...amd64, variant: 'v3' })).toBe(v3)
  })

  it('is the only one when that names no platform, attestations aside', () => {
    const only = entry('f')
    expect(choose([only, attestation])).toBe(only)
    expect(() => choose([only, entry('g')])).toThrow(expect.objectContaining({ code: 'image-unsupported' }))
  })

  it('is refused with a list of what there is', () => {
    expect(() => choose([arm, attestation])).toThrow(
      'image a cannot be used: it has no image for linux/amd64 but for linux/arm64/v8',
    )
    expect(() => choose([])).toThrow('but for nothing')
  })
})

describe('a layer', () => {
  it.each([
    [MEDIA.ociLayerGzip, 'gzip'],
    [MEDIA.dockerLayerGzip, 'gzip'],
    [MEDIA.ociLayerZstd, 'zstd'],
    [MEDIA.ociLayerTar, 'none'],
    [MEDIA.dockerLayerTar, 'none'],
  ])('of type %s is compressed with %s', (mediaType, compression) => {
    expect(layerCompression({ ...entry('a'), mediaType }, 'image a')).toBe(compression)
  })

  it.each([
    ['foreign', { mediaType: 'application/vnd.docker.image.rootfs.foreign.diff.tar.gzip' }],
    ['foreign', { mediaType: 'application/vnd.oci.image.layer.nondistributable.v1.tar+gzip' }],
    ['foreign', { mediaType: MEDIA.ociLayerGzip, urls: ['https://r.example/x'] }],
    ['encrypted', { mediaType: `${MEDIA.ociLayerGzip}+encrypted` }],
    ['of an unknown kind', { mediaType: 'application/x' }],
    ['of an unknown kind', { mediaType: '__proto__' }],
  ])('that is %s is refused by name (%o)', (word, change) => {
    const layers = [{ ...entry('a'), ...change }]
    expect(() => checkLayers({ schemaVersion: 2, config: entry('b'), layers }, 'image a')).toThrow(
      expect.objectContaining({ code: 'image-unsupported', message: expect.stringContaining(word) }),
    )
  })
})
