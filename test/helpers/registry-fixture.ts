import { randomBytes } from 'node:crypto'
import { PassThrough } from 'node:stream'
import { buffer } from 'node:stream/consumers'
import { afterAll, afterEach, beforeAll } from 'vitest'
import {
  type BuiltImage,
  buildImage,
  type Credential,
  type Descriptor,
  digestOf,
  MEDIA,
  machinePlatform,
  RegistryClient,
  writeLayer,
} from '../../oci/index.ts'
import { type FaultyProxy, startFaultyProxy } from './faulty-proxy.ts'
import { startTokenRegistry, type TokenRegistry } from './token-registry.ts'

export const REPOSITORY = 'default/hello'

/** A registry with tokens that holds one image (`default/hello:v1`) and one large blob, and a proxy in front of it. */
export interface RegistryFixture {
  readonly registry: TokenRegistry
  readonly proxy: FaultyProxy
  /** May do everything, without the proxy. */
  readonly admin: RegistryClient
  readonly image: BuiltImage
  /** A blob of 3 MB in the repository that no compression makes small, so that it comes in many pieces. */
  readonly large: Buffer
  readonly largeBlob: Descriptor
  /** Called after the test. */
  readonly closing: (() => unknown)[]
  /** A client that ends with the test; default: the admin's credential, without the proxy. */
  readonly client: (credential?: Credential, host?: string, signal?: AbortSignal) => RegistryClient
  readonly throughProxy: (signal?: AbortSignal) => RegistryClient
  /** A client through the proxy that has its token already: its next request is the one that a fault strikes. */
  readonly authorised: () => Promise<RegistryClient>
  readonly pullLarge: (from: RegistryClient, offset?: number) => Promise<Buffer>
}

interface Started {
  registry: TokenRegistry
  proxy: FaultyProxy
  admin: RegistryClient
  image: BuiltImage
}

/** Registers start and end of a fixture with the suite that calls it. */
export function useRegistryFixture(): RegistryFixture {
  const large = randomBytes(3_000_000)
  const largeBlob: Descriptor = { mediaType: MEDIA.ociLayerTar, digest: digestOf(large), size: large.length }
  const closing: (() => unknown)[] = []
  let started: Started | undefined
  beforeAll(async () => {
    started = await start(large, largeBlob)
  })
  afterAll(async () => {
    await started?.admin.close()
    await started?.proxy.close()
    await started?.registry.stop()
  })
  afterEach(async () => {
    started?.proxy.faults.splice(0)
    started?.proxy.requests.splice(0)
    for (const close of closing.splice(0)) await close()
  })
  const running = (): Started => {
    if (started === undefined) throw new Error('the fixture starts before the tests')
    return started
  }
  const client: RegistryFixture['client'] = (credential, host, signal) => {
    const { registry } = running()
    const options = { registry: host ?? registry.host, credential: credential ?? registry.admin }
    const made = new RegistryClient({ ...options, ...(signal === undefined ? {} : { signal }) })
    closing.push(() => made.close())
    return made
  }
  const throughProxy = (signal?: AbortSignal): RegistryClient => client(undefined, running().proxy.host, signal)
  return {
    get registry() {
      return running().registry
    },
    get proxy() {
      return running().proxy
    },
    get admin() {
      return running().admin
    },
    get image() {
      return running().image
    },
    large,
    largeBlob,
    closing,
    client,
    throughProxy,
    authorised: async () => {
      const made = throughProxy()
      await made.hasBlob(REPOSITORY, largeBlob)
      running().proxy.requests.splice(0)
      return made
    },
    pullLarge: (from, offset) => buffer(from.openBlob(REPOSITORY, largeBlob, offset)),
  }
}

async function start(large: Buffer, largeBlob: Descriptor): Promise<Started> {
  const registry = await startTokenRegistry()
  const proxy = await startFaultyProxy(registry.host)
  const admin = new RegistryClient({ registry: registry.host, credential: registry.admin })
  const image = await pushSample(admin, REPOSITORY)
  await admin.uploadBlob(REPOSITORY, largeBlob, large)
  return { registry, proxy, admin, image }
}

/** Builds an image of one file and pushes it with the tag `v1`. */
export async function pushSample(client: RegistryClient, repository: string): Promise<BuiltImage> {
  const sink = new PassThrough()
  const entry = { kind: 'file' as const, path: 'hello', content: Buffer.from(`hello from ${repository}`) }
  const [layer, layerBytes] = await Promise.all([writeLayer([entry], sink), buffer(sink)])
  const config = { ...machinePlatform(), rootfs: { type: 'layers' as const, diff_ids: [] } }
  const image = buildImage({
    base: { manifest: { layers: [] }, config },
    layers: [{ ...layer, createdBy: 'test' }],
    changes: { cmd: ['/hello'] },
  })
  await client.uploadBlob(repository, layer.descriptor, layerBytes)
  await client.uploadBlob(repository, image.config.descriptor, image.config.bytes)
  await client.putManifest(repository, 'v1', MEDIA.ociManifest, image.manifest.bytes)
  return image
}
