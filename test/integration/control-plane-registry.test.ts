import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { DEFAULT_NAMESPACE_SETTINGS } from '../../api/index.ts'
import { pushLayout } from '../../cli/push-layout.ts'
import { type RegistryResolverOptions, registryImageResolver } from '../../control-plane/index.ts'
import { requirePull } from '../../control-plane/pull-rights.ts'
import { type Digest, digestHex, digestOf, MEDIA, machinePlatform, RegistryClient } from '../../oci/index.ts'
import { requireProgram } from '../helpers/programs.ts'
import { startTestRegistry, type TestRegistry } from '../helpers/registry.ts'

const here = machinePlatform()
const elsewhere = { os: 'linux', architecture: here.architecture === 's390x' ? 'amd64' : 's390x' }

interface Written {
  mediaType: string
  digest: Digest
  size: number
}

/** An OCI image layout, written blob by blob. */
class Layout {
  readonly directory = mkdtempSync(join(tmpdir(), 'slipway-layout-'))

  constructor() {
    mkdirSync(join(this.directory, 'blobs/sha256'), { recursive: true })
  }

  blob(mediaType: string, content: Buffer | object): Written {
    const bytes = Buffer.isBuffer(content) ? content : Buffer.from(JSON.stringify(content))
    const digest = digestOf(bytes)
    writeFileSync(this.path(digest), bytes)
    return { mediaType, digest, size: bytes.length }
  }

  image(platform: { os: string; architecture: string }): Written {
    const tar = Buffer.alloc(1024)
    const layer = this.blob(MEDIA.ociLayerGzip, gzipSync(tar))
    const config = this.blob(MEDIA.ociConfig, { ...platform, rootfs: { type: 'layers', diff_ids: [digestOf(tar)] } })
    return this.blob(MEDIA.ociManifest, { schemaVersion: 2, mediaType: MEDIA.ociManifest, config, layers: [layer] })
  }

  index(manifests: object[]): void {
    writeFileSync(join(this.directory, 'index.json'), JSON.stringify({ schemaVersion: 2, manifests }))
  }

  path(digest: Digest): string {
    return join(this.directory, 'blobs/sha256', digestHex(digest))
  }
}

describe.skipIf(!requireProgram('docker-registry'))('with a real registry', () => {
  const layout = new Layout()
  let registry: TestRegistry
  let client: RegistryClient
  beforeAll(async () => {
    registry = await startTestRegistry()
    client = new RegistryClient({ registry: registry.address, credential: { kind: 'anonymous' } })
  })
  afterAll(async () => {
    await client.close()
    await registry.close()
    rmSync(layout.directory, { recursive: true })
  })

  const push = (repository: string, tag = 'latest', ref?: string) =>
    pushLayout(client, layout.directory, { repository, tag, ...(ref === undefined ? {} : { ref }) })
  const resolve = (repository: string, over: Partial<RegistryResolverOptions> = {}, part: object = { tag: 'latest' }) =>
    registryImageResolver({
      credentials: () => Promise.resolve({ credential: { kind: 'anonymous' }, end: () => undefined }),
      requireRight: (name, image) =>
        requirePull(name, { name, ...DEFAULT_NAMESPACE_SETTINGS, createdAtMs: 0 }, image, registry.address),
      ...over,
    }).resolve({ registry: registry.address, repository, ...part }, 'default', AbortSignal.timeout(10_000))

  test('a layout is pushed, its tag is pinned, and a second push sends the manifest only', async () => {
    const manifest = layout.image(here)
    layout.index([manifest])
    const first = await push('default/plain')
    expect(first).toMatchObject({ digest: manifest.digest, reusedBytes: 0, pushedBytes: first.sizeBytes })
    const pinned = { registry: registry.address, repository: 'default/plain', tag: 'latest' }
    expect(await resolve('default/plain')).toEqual({
      ...pinned,
      digest: manifest.digest,
      platformDigest: manifest.digest,
      sizeBytes: first.sizeBytes,
    })
    expect(await push('default/plain')).toMatchObject({ pushedBytes: manifest.size })
  })

  test('an index is pinned with the manifest of this machine in it', async () => {
    const mine = layout.image(here)
    const index = layout.blob(MEDIA.ociIndex, {
      schemaVersion: 2,
      mediaType: MEDIA.ociIndex,
      manifests: [
        { ...layout.image(elsewhere), platform: elsewhere },
        { ...mine, platform: here },
      ],
    })
    layout.index([index])
    await push('default/index')
    expect(await resolve('default/index')).toMatchObject({ digest: index.digest, platformDigest: mine.digest })
    expect(await resolve('default/index', {}, { digest: mine.digest })).toMatchObject({ digest: mine.digest })
  })

  test('what cannot run here, is too large, may not be pulled or is not there is refused by name', async () => {
    layout.index([layout.image(elsewhere)])
    await push('default/foreign')
    await expect(resolve('default/foreign')).rejects.toMatchObject({ code: 'image-unsupported' })
    await expect(resolve('default/plain', { maxImageBytes: 10 })).rejects.toMatchObject({ code: 'image-too-large' })
    await expect(resolve('other/plain')).rejects.toMatchObject({ code: 'image-not-allowed' })
    await expect(resolve('defaulted/plain')).rejects.toMatchObject({ code: 'image-not-allowed' })
    await expect(resolve('default/plain', {}, { tag: 'absent' })).rejects.toMatchObject({ code: 'image-not-found' })
    await expect(resolve('default/absent')).rejects.toMatchObject({ code: 'image-not-found' })
  })

  test('a layout of several images needs a choice; one that is damaged is refused', async () => {
    const named = (ref: string) => ({ 'org.opencontainers.image.ref.name': ref })
    const mine = layout.image(here)
    layout.index([
      { ...mine, annotations: named('v1') },
      { ...layout.image(elsewhere), annotations: named('v2') },
    ])
    await expect(push('default/many')).rejects.toThrow('it has 2 images: v1, v2')
    expect((await push('default/many', 'x', 'v1')).digest).toBe(mine.digest)
    writeFileSync(layout.path(mine.digest), 'changed')
    await expect(push('default/damaged', 'x', 'v1')).rejects.toMatchObject({ code: 'layout-invalid' })
    rmSync(join(layout.directory, 'index.json'))
    await expect(push('default/none')).rejects.toThrow('it is missing')
  })
})
