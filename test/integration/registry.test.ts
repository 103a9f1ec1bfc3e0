import { randomBytes } from 'node:crypto'
import { Readable } from 'node:stream'
import { buffer } from 'node:stream/consumers'
import { describe, expect, it } from 'vitest'
import { digestOf, loadImage, MEDIA, machinePlatform } from '../../oci/index.ts'
import { requireProgram } from '../helpers/programs.ts'
import { pushSample, REPOSITORY, useRegistryFixture } from '../helpers/registry-fixture.ts'

describe.skipIf(!requireProgram('docker-registry', 'setpriv'))('the registry client', () => {
  const fixture = useRegistryFixture()
  const { large, largeBlob, client, throughProxy, authorised, pullLarge } = fixture

  describe('what is pushed', () => {
    it('comes back byte for byte, by tag and by digest', async () => {
      const byTag = await client().resolve({ repository: REPOSITORY, tag: 'v1' })
      expect(byTag.descriptor).toEqual(fixture.image.manifest.descriptor)
      expect(byTag.bytes.equals(fixture.image.manifest.bytes)).toBe(true)
      const loaded = await loadImage(client(), REPOSITORY, fixture.image.manifest.descriptor.digest, machinePlatform())
      expect(loaded.configBytes.equals(fixture.image.config.bytes)).toBe(true)
      expect(loaded.manifest.layers).toEqual(fixture.image.layers)
      expect((await pullLarge(client())).equals(large)).toBe(true)
    })

    it('is found, listed, and gone after its deletion', async () => {
      const sample = await pushSample(fixture.admin, 'default/short-lived')
      const [layer] = sample.layers
      if (layer === undefined) throw new Error('the sample has a layer')
      expect(await fixture.admin.hasBlob('default/short-lived', layer)).toBe(true)
      expect(await fixture.admin.hasBlob('default/short-lived', largeBlob)).toBe(false)
      expect(await fixture.admin.hasBlob('default/short-lived', { ...layer, size: layer.size + 1 })).toBe(false)
      expect(await fixture.admin.listTags('default/short-lived')).toEqual(['v1'])
      await fixture.admin.deleteManifest('default/short-lived', sample.manifest.descriptor.digest)
      const gone = client().resolve({ repository: 'default/short-lived', tag: 'v1' })
      await expect(gone).rejects.toMatchObject({
        code: 'image-not-found',
        message: `pull of manifest v1 from default/short-lived failed: ${fixture.registry.host} answered 404 (MANIFEST_UNKNOWN: manifest unknown)`,
      })
    })

    it('is mounted from another repository without being sent, where the registry knows it', async () => {
      expect(await fixture.admin.mountBlob('default/other', REPOSITORY, largeBlob)).toBe(true)
      expect(await fixture.admin.hasBlob('default/other', largeBlob)).toBe(true)
      expect(
        await fixture.admin.mountBlob('default/other', 'default/unknown', {
          ...largeBlob,
          digest: digestOf('unknown'),
        }),
      ).toBe(false)
      const { username, password } = fixture.registry.temporary.issue(
        [{ repository: 'mine/*', actions: ['pull', 'push'] }],
        inAMinute(),
      )
      const stranger = client({ kind: 'basic', username, password })
      expect(await stranger.mountBlob('mine/a', REPOSITORY, largeBlob)).toBe(false)
    })

    it('may be an index, which leads to the image of this platform', async () => {
      const entry = { ...fixture.image.manifest.descriptor, platform: machinePlatform() }
      const other = { ...entry, platform: { os: 'linux', architecture: 's390x' } }
      const index = { schemaVersion: 2, mediaType: MEDIA.ociIndex, manifests: [other, entry] }
      const digest = await fixture.admin.putManifest(
        REPOSITORY,
        'multi',
        MEDIA.ociIndex,
        Buffer.from(JSON.stringify(index)),
      )
      const loaded = await loadImage(client(), REPOSITORY, digest, machinePlatform())
      expect(loaded.descriptor.digest).toBe(fixture.image.manifest.descriptor.digest)
    })

    it('is refused when its bytes are not those of its descriptor', async () => {
      const wrong = { ...largeBlob, digest: digestOf('other') }
      await expect(fixture.admin.uploadBlob(REPOSITORY, wrong, large)).rejects.toMatchObject({
        code: 'digest-mismatch',
      })
      const shorter = (): Readable => Readable.from([large.subarray(0, 1000)])
      await expect(
        fixture.admin.uploadBlob(REPOSITORY, { ...largeBlob, digest: digestOf('x') }, shorter),
      ).rejects.toMatchObject({ code: 'digest-mismatch' })
    })

    it('fails with the error of its source', async () => {
      const failing = (): Readable => new Readable({ read: (): void => void failing }).destroy(new Error('disk broken'))
      await expect(
        fixture.admin.uploadBlob(REPOSITORY, { ...largeBlob, digest: digestOf('y') }, failing),
      ).rejects.toThrow('disk broken')
    })
  })

  describe('over a connection that fails', () => {
    it('a download goes on where it was cut', async () => {
      const puller = await authorised()
      fixture.proxy.faults.push({ on: `GET /v2/${REPOSITORY}/blobs/`, times: 2, cutAnswerAfterBytes: 1_000_000 })
      const pulled = await pullLarge(puller)
      expect(pulled.equals(large)).toBe(true)
      const ranges = fixture.proxy.requests.filter((line) => line.includes('/blobs/')).map((line) => line.split(' ')[2])
      expect(ranges.filter((range) => range !== undefined)).toEqual(['bytes=1000000-2999999', 'bytes=2000000-2999999'])
    })

    it('a download from an offset asks for the rest only, and for nothing at the end', async () => {
      expect((await pullLarge(throughProxy(), 2_999_990)).equals(large.subarray(2_999_990))).toBe(true)
      expect(fixture.proxy.requests.at(-1)).toBe(
        `GET /v2/${REPOSITORY}/blobs/${largeBlob.digest} bytes=2999990-2999999`,
      )
      const before = fixture.proxy.requests.length
      expect(await pullLarge(throughProxy(), large.length)).toHaveLength(0)
      expect(fixture.proxy.requests).toHaveLength(before)
    })

    it('a registry that ignores ranges gives the right bytes all the same', async () => {
      fixture.proxy.faults.push({ on: `GET /v2/${REPOSITORY}/blobs/`, times: 9, withoutHeaders: ['range'] })
      expect((await pullLarge(throughProxy(), 1_234_567)).equals(large.subarray(1_234_567))).toBe(true)
    })

    it('a download that never gets further is given up after five tries', async () => {
      const puller = await authorised()
      fixture.proxy.faults.push({ on: `GET /v2/${REPOSITORY}/blobs/`, times: 99, cutAnswerAfterBytes: 10 })
      await expect(pullLarge(puller)).rejects.toMatchObject({ code: 'registry-unreachable', retryable: true })
      expect(fixture.proxy.requests.filter((line) => line.includes('/blobs/'))).toHaveLength(5)
    })

    it('an upload that was cut is sent again', async () => {
      const bytes = randomBytes(2_000_000)
      const blob = { mediaType: MEDIA.ociLayerTar, digest: digestOf(bytes), size: bytes.length }
      fixture.proxy.faults.push({ on: 'PUT ', times: 1, cutRequestAfterBytes: 500_000 })
      const tries: number[] = []
      await throughProxy().uploadBlob(REPOSITORY, blob, () => {
        tries.push(tries.length)
        return Readable.from([bytes.subarray(0, 1_000_000), bytes.subarray(1_000_000)])
      })
      expect(tries).toHaveLength(2)
      expect(await fixture.admin.hasBlob(REPOSITORY, blob)).toBe(true)
    })

    it('503 is tried again, after the wait that the registry asks for', async () => {
      const answer = { status: 503, headers: { 'retry-after': '1' } }
      fixture.proxy.faults.push({ on: 'GET /v2/', times: 1, answer })
      const startedMs = performance.now()
      const found = await throughProxy().resolve({ repository: REPOSITORY, tag: 'v1' })
      expect(found.descriptor.digest).toBe(fixture.image.manifest.descriptor.digest)
      expect(performance.now() - startedMs).toBeGreaterThan(990)
    })

    it('503 without end is told after five tries, a long wait at once', async () => {
      fixture.proxy.faults.push({ on: 'GET /v2/', times: 99, answer: { status: 503, body: 'under repair\u0007' } })
      await expect(throughProxy().resolve({ repository: REPOSITORY, tag: 'v1' })).rejects.toMatchObject({
        code: 'registry-error',
        retryable: true,
        message: `pull of manifest v1 from ${REPOSITORY} failed: ${fixture.proxy.host} answered 503 (under repair)`,
      })
      expect(fixture.proxy.requests).toHaveLength(5)
      fixture.proxy.faults[0] = { on: 'GET /v2/', answer: { status: 429, headers: { 'retry-after': '3600' } } }
      await expect(throughProxy().resolve({ repository: REPOSITORY })).rejects.toMatchObject({
        details: { status: 429, retryAfterMs: 3_600_000 },
      })
      expect(fixture.proxy.requests).toHaveLength(6)
    })

    it('a registry that is not there is named', async () => {
      const away = client({ kind: 'anonymous' }, '127.0.0.1:1')
      await expect(away.resolve({ repository: REPOSITORY })).rejects.toMatchObject({
        code: 'registry-unreachable',
        message: `pull of manifest latest from ${REPOSITORY} failed: 127.0.0.1:1 cannot be reached: connect ECONNREFUSED 127.0.0.1:1`,
        hint: 'check that 127.0.0.1:1 is running and can be reached from here',
      })
    })

    it('waiting ends with the reason of the signal', async () => {
      fixture.proxy.faults.push({ on: 'GET /v2/', hang: true }, { on: 'GET /v2/', hang: true })
      const controller = new AbortController()
      const pull = pullLarge(throughProxy(controller.signal))
      setTimeout(() => controller.abort(new Error('the start was given up')), 50)
      await expect(pull).rejects.toThrow('the start was given up')
      await expect(throughProxy(controller.signal).resolve({ repository: REPOSITORY })).rejects.toThrow(
        'the start was given up',
      )
    })
  })

  describe('content that was changed on its way', () => {
    it('is noticed in a manifest by digest', async () => {
      fixture.proxy.faults.push({ on: `GET /v2/${REPOSITORY}/manifests/`, times: 9, flipByte: 20 })
      const changed = throughProxy().getManifest(REPOSITORY, fixture.image.manifest.descriptor.digest)
      await expect(changed).rejects.toMatchObject({
        code: 'digest-mismatch',
        details: { expected: fixture.image.manifest.descriptor.digest, actual: expect.stringMatching(/^sha256:/) },
      })
    })

    it('is noticed in a small blob that is read whole', async () => {
      fixture.proxy.faults.push({ on: `GET /v2/${REPOSITORY}/blobs/`, times: 9, flipByte: 20 })
      await expect(throughProxy().readBlob(REPOSITORY, fixture.image.config.descriptor)).rejects.toMatchObject({
        code: 'digest-mismatch',
      })
    })

    it('is noticed by the length of a blob, and by that of a manifest in an index', async () => {
      for (const size of [large.length - 1, large.length + 1]) {
        const stream = client().openBlob(REPOSITORY, { ...largeBlob, size })
        await expect(buffer(stream)).rejects.toMatchObject({ code: 'digest-mismatch' })
      }
      const wrong = { ...fixture.image.manifest.descriptor, size: 1 }
      await expect(client().getManifest(REPOSITORY, wrong)).rejects.toMatchObject({ code: 'digest-mismatch' })
    })

    it('is not read beyond its bound', async () => {
      await expect(client().readBlob(REPOSITORY, largeBlob, 1_000_000)).rejects.toMatchObject({
        code: 'image-unsupported',
      })
      const body = ' '.repeat(5_000_000)
      fixture.proxy.faults.push({
        on: `GET /v2/${REPOSITORY}/manifests/`,
        times: 9,
        answer: { status: 200, headers: { 'content-type': MEDIA.ociManifest }, body },
      })
      await expect(throughProxy().resolve({ repository: REPOSITORY })).rejects.toMatchObject({
        code: 'registry-error',
        message: expect.stringContaining('the answer is longer than 4194304 bytes'),
      })
    })
  })
})

const inAMinute = (): number => Date.now() + 60_000
