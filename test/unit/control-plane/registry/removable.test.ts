import { describe, expect, it } from 'vitest'
import type { Version } from '../../../../api/index.ts'
import { divide, KEEP_REPOSITORY, sizeOf, unfinishedBlobs } from '../../../../control-plane/registry/removable.ts'
import { key, type StoredImage } from '../../../../control-plane/registry/stored-images.ts'
import { type Digest, digestOf } from '../../../../oci/index.ts'

const YOUNG_SINCE_MS = 1_000
const NOTHING = { versions: [], digests: [] }

function image(name: string, over: Partial<StoredImage> = {}): StoredImage {
  const blobs = new Map([[digestOf(`layer of ${name}`), 100]])
  const described = { mediaType: 'm', bytes: 10, pushedAtMs: 0, tags: [], children: [], subject: undefined }
  return { repository: 'a/b', digest: digestOf(name), blobs, ...described, ...over }
}

function version(of: StoredImage, over: object = {}): Version {
  const { repository, digest } = of
  return { image: { repository, digest, platformDigest: digest, ...over } } as Version
}

const names = (images: readonly StoredImage[], all: Record<string, StoredImage>) =>
  Object.keys(all).filter((name) => images.some((found) => found === all[name]))

describe('of the images in the registry', () => {
  it('those stay that a tag, a version or an instance names, and that are young', () => {
    const all = {
      untagged: image('untagged'),
      tagged: image('tagged', { tags: ['v1'] }),
      deployed: image('deployed'),
      elsewhere: image('deployed', { repository: 'c/d' }),
      platform: image('platform'),
      running: image('running', { repository: 'c/d' }),
      young: image('young', { pushedAtMs: YOUNG_SINCE_MS }),
      old: image('old', { pushedAtMs: YOUNG_SINCE_MS - 1 }),
    }
    const versions = [version(all.deployed), version(image('index'), { platformDigest: all.platform.digest })]
    const inUse = { versions, digests: [all.running.digest] }
    const { kept, removed } = divide(Object.values(all), inUse, YOUNG_SINCE_MS)
    expect(names(removed, all)).toEqual(['untagged', 'elsewhere', 'old'])
    expect(kept.length + removed.length).toBe(Object.keys(all).length)
  })

  it('those stay that an index which stays leads to, also through another index', () => {
    const leaf = image('leaf')
    const inner = image('inner', { children: [leaf.digest, digestOf('not here')] })
    const all = {
      leaf,
      inner,
      outer: image('outer', { children: [inner.digest], tags: ['v1'] }),
      other: image('other'),
    }
    expect(names(divide(Object.values(all), NOTHING, YOUNG_SINCE_MS).removed, all)).toEqual(['other'])
    const untagged = { ...all, outer: image('outer', { children: [inner.digest] }) }
    expect(divide(Object.values(untagged), NOTHING, YOUNG_SINCE_MS).kept).toEqual([])
  })

  it('those stay that say something about what stays, one about another', () => {
    const signed = image('signed', { tags: ['v1'] })
    const signature = image('signature', { subject: signed.digest })
    const all = {
      aboutSignature: image('about the signature', { subject: signature.digest }),
      signature,
      signed,
      astray: image('astray', { subject: digestOf('gone') }),
    }
    expect(names(divide(Object.values(all), NOTHING, YOUNG_SINCE_MS).removed, all)).toEqual(['astray'])
  })

  it('what held blobs through the last collection goes, young as it may be', () => {
    const held = image('held', { repository: KEEP_REPOSITORY, pushedAtMs: YOUNG_SINCE_MS + 1 })
    expect(divide([held], NOTHING, YOUNG_SINCE_MS).removed).toEqual([held])
  })
})

it('blobs of pushes that are not finished are those taken in lately that no image refers to, each once', () => {
  const kept = image('kept', { tags: ['v1'] })
  const [referred = digestOf('')] = [...kept.blobs.keys()]
  const layer = (digest: Digest, takenAtMs: number, repository = 'a/b') => ({ repository, digest, takenAtMs })
  const layers = [
    layer(referred, 2_000),
    layer(digestOf('old'), YOUNG_SINCE_MS - 1),
    layer(digestOf('new'), YOUNG_SINCE_MS),
    layer(digestOf('new'), YOUNG_SINCE_MS, 'c/d'),
    layer(digestOf('held before'), 2_000, KEEP_REPOSITORY),
  ]
  const holdings = { manifests: [], tags: [], layers, blobs: 0, blobBytes: 0 }
  expect(unfinishedBlobs(holdings, [kept], YOUNG_SINCE_MS).map(({ digest }) => digest)).toEqual([digestOf('new')])
})

it('the size of an index counts each blob that it leads to once', () => {
  const blobs = new Map([[digestOf('shared'), 100]])
  const one = image('one', { blobs })
  const two = image('two', { blobs: new Map([...blobs, [digestOf('own'), 5]]) })
  const index = image('index', { blobs: new Map(), children: [one.digest, two.digest, digestOf('not here')] })
  const byKey = new Map([one, two, index].map((found) => [key(found.repository, found.digest), found]))
  expect(sizeOf(index, byKey)).toBe(3 * 10 + 100 + 5)
})
