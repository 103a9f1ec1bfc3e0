import { spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer, type IncomingHttpHeaders } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { PassThrough, Readable } from 'node:stream'
import { buffer } from 'node:stream/consumers'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { run } from '../../common/index.ts'
import {
  type BuiltImage,
  buildImage,
  type Credential,
  type Descriptor,
  digestOf,
  loadImage,
  MEDIA,
  machinePlatform,
  RegistryClient,
  writeLayer,
} from '../../oci/index.ts'
import { type FaultyProxy, startFaultyProxy } from '../helpers/faulty-proxy.ts'
import { requireProgram } from '../helpers/programs.ts'
import { startTokenRegistry, type TokenRegistry } from '../helpers/token-registry.ts'

const REPOSITORY = 'default/hello'

describe.skipIf(!requireProgram('docker-registry', 'setpriv', 'skopeo'))('the local registry with tokens', () => {
  let registry: TokenRegistry
  let proxy: FaultyProxy
  let home: string
  let admin: RegistryClient
  let image: BuiltImage
  const closing: (() => Promise<void> | void)[] = []

  /** A blob that no compression makes small, so that it comes in many pieces. */
  const large = randomBytes(3_000_000)
  const largeBlob: Descriptor = { mediaType: MEDIA.ociLayerTar, digest: digestOf(large), size: large.length }

  beforeAll(async () => {
    home = mkdtempSync(join(tmpdir(), 'slipway-registry-test-'))
    registry = await startTokenRegistry()
    proxy = await startFaultyProxy(registry.host)
    admin = new RegistryClient({ registry: registry.host, credential: registry.admin })
    image = await pushSample(admin, REPOSITORY)
    await admin.uploadBlob(REPOSITORY, largeBlob, large)
  })
  afterAll(async () => {
    await admin?.close()
    await proxy?.close()
    await registry?.stop()
    rmSync(home, { recursive: true, force: true })
  })
  afterEach(async () => {
    proxy.faults.length = 0
    proxy.requests.length = 0
    for (const close of closing.splice(0)) await close()
  })

  function client(
    credential: Credential = registry.admin,
    host: string = registry.host,
    signal?: AbortSignal,
  ): RegistryClient {
    const made = new RegistryClient({ registry: host, credential, ...(signal === undefined ? {} : { signal }) })
    closing.push(() => made.close())
    return made
  }
  const throughProxy = (signal?: AbortSignal): RegistryClient => client(registry.admin, proxy.host, signal)
  /** Has its token already, so that the next request is the one that a fault strikes. */
  const authorised = async (): Promise<RegistryClient> => {
    const made = throughProxy()
    await made.hasBlob(REPOSITORY, largeBlob)
    proxy.requests.length = 0
    return made
  }
  const pullLarge = (from: RegistryClient, offset?: number): Promise<Buffer> =>
    buffer(from.openBlob(REPOSITORY, largeBlob, offset))

  describe('what is pushed', () => {
    it('comes back byte for byte, by tag and by digest', async () => {
      const byTag = await client().resolve({ repository: REPOSITORY, tag: 'v1' })
      expect(byTag.descriptor).toEqual(image.manifest.descriptor)
      expect(byTag.bytes.equals(image.manifest.bytes)).toBe(true)
      const loaded = await loadImage(client(), REPOSITORY, image.manifest.descriptor.digest, machinePlatform())
      expect(loaded.configBytes.equals(image.config.bytes)).toBe(true)
      expect(loaded.manifest.layers).toEqual(image.layers)
      expect((await pullLarge(client())).equals(large)).toBe(true)
    })

    it('is found, listed, and gone after its deletion', async () => {
      const sample = await pushSample(admin, 'default/short-lived')
      const [layer] = sample.layers
      if (layer === undefined) throw new Error('the sample has a layer')
      expect(await admin.hasBlob('default/short-lived', layer)).toBe(true)
      expect(await admin.hasBlob('default/short-lived', largeBlob)).toBe(false)
      expect(await admin.hasBlob('default/short-lived', { ...layer, size: layer.size + 1 })).toBe(false)
      expect(await admin.listTags('default/short-lived')).toEqual(['v1'])
      await admin.deleteManifest('default/short-lived', sample.manifest.descriptor.digest)
      const gone = client().resolve({ repository: 'default/short-lived', tag: 'v1' })
      await expect(gone).rejects.toMatchObject({
        code: 'image-not-found',
        message: `pull of manifest v1 from default/short-lived failed: ${registry.host} answered 404 (MANIFEST_UNKNOWN: manifest unknown)`,
      })
    })

    it('is mounted from another repository without being sent, where the registry knows it', async () => {
      expect(await admin.mountBlob('default/other', REPOSITORY, largeBlob)).toBe(true)
      expect(await admin.hasBlob('default/other', largeBlob)).toBe(true)
      expect(
        await admin.mountBlob('default/other', 'default/unknown', { ...largeBlob, digest: digestOf('unknown') }),
      ).toBe(false)
      const { username, password } = registry.temporary.issue(
        [{ repository: 'mine/*', actions: ['pull', 'push'] }],
        inAMinute(),
      )
      const stranger = client({ kind: 'basic', username, password })
      expect(await stranger.mountBlob('mine/a', REPOSITORY, largeBlob)).toBe(false)
    })

    it('may be an index, which leads to the image of this platform', async () => {
      const entry = { ...image.manifest.descriptor, platform: machinePlatform() }
      const other = { ...entry, platform: { os: 'linux', architecture: 's390x' } }
      const index = { schemaVersion: 2, mediaType: MEDIA.ociIndex, manifests: [other, entry] }
      const digest = await admin.putManifest(REPOSITORY, 'multi', MEDIA.ociIndex, Buffer.from(JSON.stringify(index)))
      const loaded = await loadImage(client(), REPOSITORY, digest, machinePlatform())
      expect(loaded.descriptor.digest).toBe(image.manifest.descriptor.digest)
    })

    it('is refused when its bytes are not those of its descriptor', async () => {
      const wrong = { ...largeBlob, digest: digestOf('other') }
      await expect(admin.uploadBlob(REPOSITORY, wrong, large)).rejects.toMatchObject({ code: 'digest-mismatch' })
      const shorter = (): Readable => Readable.from([large.subarray(0, 1000)])
      await expect(
        admin.uploadBlob(REPOSITORY, { ...largeBlob, digest: digestOf('x') }, shorter),
      ).rejects.toMatchObject({ code: 'digest-mismatch' })
    })

    it('fails with the error of its source', async () => {
      const failing = (): Readable => new Readable({ read: (): void => void failing }).destroy(new Error('disk broken'))
      await expect(admin.uploadBlob(REPOSITORY, { ...largeBlob, digest: digestOf('y') }, failing)).rejects.toThrow(
        'disk broken',
      )
    })
  })

  describe('over a connection that fails', () => {
    it('a download goes on where it was cut', async () => {
      const puller = await authorised()
      proxy.faults.push({ on: `GET /v2/${REPOSITORY}/blobs/`, times: 2, cutAnswerAfterBytes: 1_000_000 })
      const pulled = await pullLarge(puller)
      expect(pulled.equals(large)).toBe(true)
      const ranges = proxy.requests.filter((line) => line.includes('/blobs/')).map((line) => line.split(' ')[2])
      expect(ranges.filter((range) => range !== undefined)).toEqual(['bytes=1000000-2999999', 'bytes=2000000-2999999'])
    })

    it('a download from an offset asks for the rest only, and for nothing at the end', async () => {
      expect((await pullLarge(throughProxy(), 2_999_990)).equals(large.subarray(2_999_990))).toBe(true)
      expect(proxy.requests.at(-1)).toBe(`GET /v2/${REPOSITORY}/blobs/${largeBlob.digest} bytes=2999990-2999999`)
      const before = proxy.requests.length
      expect(await pullLarge(throughProxy(), large.length)).toHaveLength(0)
      expect(proxy.requests).toHaveLength(before)
    })

    it('a registry that ignores ranges gives the right bytes all the same', async () => {
      proxy.faults.push({ on: `GET /v2/${REPOSITORY}/blobs/`, times: 9, withoutHeaders: ['range'] })
      expect((await pullLarge(throughProxy(), 1_234_567)).equals(large.subarray(1_234_567))).toBe(true)
    })

    it('a download that never gets further is given up after five tries', async () => {
      const puller = await authorised()
      proxy.faults.push({ on: `GET /v2/${REPOSITORY}/blobs/`, times: 99, cutAnswerAfterBytes: 10 })
      await expect(pullLarge(puller)).rejects.toMatchObject({ code: 'registry-unreachable', retryable: true })
      expect(proxy.requests.filter((line) => line.includes('/blobs/'))).toHaveLength(5)
    })

    it('an upload that was cut is sent again', async () => {
      const bytes = randomBytes(2_000_000)
      const blob = { mediaType: MEDIA.ociLayerTar, digest: digestOf(bytes), size: bytes.length }
      proxy.faults.push({ on: 'PUT ', times: 1, cutRequestAfterBytes: 500_000 })
      const tries: number[] = []
      await throughProxy().uploadBlob(REPOSITORY, blob, () => {
        tries.push(tries.length)
        return Readable.from([bytes.subarray(0, 1_000_000), bytes.subarray(1_000_000)])
      })
      expect(tries).toHaveLength(2)
      expect(await admin.hasBlob(REPOSITORY, blob)).toBe(true)
    })

    it('503 is tried again, after the wait that the registry asks for', async () => {
      const answer = { status: 503, headers: { 'retry-after': '1' } }
      proxy.faults.push({ on: 'GET /v2/', times: 1, answer })
      const startedMs = performance.now()
      const found = await throughProxy().resolve({ repository: REPOSITORY, tag: 'v1' })
      expect(found.descriptor.digest).toBe(image.manifest.descriptor.digest)
      expect(performance.now() - startedMs).toBeGreaterThan(990)
    })

    it('503 without end is told after five tries, a long wait at once', async () => {
      proxy.faults.push({ on: 'GET /v2/', times: 99, answer: { status: 503, body: 'under repair\u0007' } })
      await expect(throughProxy().resolve({ repository: REPOSITORY, tag: 'v1' })).rejects.toMatchObject({
        code: 'registry-error',
        retryable: true,
        message: `pull of manifest v1 from ${REPOSITORY} failed: ${proxy.host} answered 503 (under repair)`,
      })
      expect(proxy.requests).toHaveLength(5)
      proxy.faults[0] = { on: 'GET /v2/', answer: { status: 429, headers: { 'retry-after': '3600' } } }
      await expect(throughProxy().resolve({ repository: REPOSITORY })).rejects.toMatchObject({
        details: { status: 429, retryAfterMs: 3_600_000 },
      })
      expect(proxy.requests).toHaveLength(6)
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
      proxy.faults.push({ on: 'GET /v2/', hang: true }, { on: 'GET /v2/', hang: true })
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
      proxy.faults.push({ on: `GET /v2/${REPOSITORY}/manifests/`, times: 9, flipByte: 20 })
      const changed = throughProxy().getManifest(REPOSITORY, image.manifest.descriptor.digest)
      await expect(changed).rejects.toMatchObject({
        code: 'digest-mismatch',
        details: { expected: image.manifest.descriptor.digest, actual: expect.stringMatching(/^sha256:/) },
      })
    })

    it('is noticed in a small blob that is read whole', async () => {
      proxy.faults.push({ on: `GET /v2/${REPOSITORY}/blobs/`, times: 9, flipByte: 20 })
      await expect(throughProxy().readBlob(REPOSITORY, image.config.descriptor)).rejects.toMatchObject({
        code: 'digest-mismatch',
      })
    })

    it('is noticed by the length of a blob, and by that of a manifest in an index', async () => {
      for (const size of [large.length - 1, large.length + 1]) {
        const stream = client().openBlob(REPOSITORY, { ...largeBlob, size })
        await expect(buffer(stream)).rejects.toMatchObject({ code: 'digest-mismatch' })
      }
      const wrong = { ...image.manifest.descriptor, size: 1 }
      await expect(client().getManifest(REPOSITORY, wrong)).rejects.toMatchObject({ code: 'digest-mismatch' })
    })

    it('is not read beyond its bound', async () => {
      await expect(client().readBlob(REPOSITORY, largeBlob, 1_000_000)).rejects.toMatchObject({
        code: 'image-unsupported',
      })
      const body = ' '.repeat(5_000_000)
      proxy.faults.push({
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

  describe('a credential', () => {
    it('with a wrong password is refused as unauthorized', async () => {
      const wrong = client({ ...registry.admin, password: 'wrong' })
      await expect(wrong.resolve({ repository: REPOSITORY })).rejects.toMatchObject({
        code: 'registry-unauthorized',
        fault: 'user',
        message: expect.stringContaining('wrong user name or password, or a credential that has ended'),
      })
    })

    it('without the right is refused as denied, each right apart', async () => {
      const password = await registry.users.add('reader', [`pull:${REPOSITORY}`])
      const reader = client({ kind: 'basic', username: 'reader', password })
      expect((await reader.resolve({ repository: REPOSITORY, tag: 'v1' })).descriptor).toEqual(
        image.manifest.descriptor,
      )
      const denied = [
        reader.resolve({ repository: 'default/other' }),
        reader.uploadBlob(REPOSITORY, largeBlob, large),
        reader.putManifest(REPOSITORY, 'v2', MEDIA.ociManifest, image.manifest.bytes),
        reader.deleteManifest(REPOSITORY, image.manifest.descriptor.digest),
        client({ kind: 'anonymous' }).resolve({ repository: REPOSITORY }),
      ]
      const outcomes = await Promise.allSettled(denied)
      for (const outcome of outcomes)
        expect(outcome).toMatchObject({ reason: { code: 'registry-denied', fault: 'user' } })
    })

    it('made for one pull opens one repository, and is refused by the token server from its end', async () => {
      const pull = registry.temporary.issuePull(REPOSITORY, inAMinute())
      const credential: Credential = { kind: 'basic', username: pull.username, password: pull.password }
      expect((await pullLarge(client(credential))).equals(large)).toBe(true)
      await expect(client(credential).resolve({ repository: 'default/other' })).rejects.toMatchObject({
        code: 'registry-denied',
      })
      pull.end()
      await expect(client(credential).resolve({ repository: REPOSITORY })).rejects.toMatchObject({
        code: 'registry-unauthorized',
      })
    })

    it('is exchanged once for many requests at a time, and again when the registry no longer takes the token', async () => {
      const before = registry.tokenRequests.length
      const puller = throughProxy()
      await Promise.all(Array.from({ length: 8 }, () => pullLarge(puller)))
      expect(registry.tokenRequests.slice(before)).toEqual([`GET 200 repository:${REPOSITORY}:pull`])
      const challenge = `Bearer realm="${registry.realm}",service="slipway-registry",error="invalid_token"`
      proxy.faults.push({ on: 'GET /v2/', answer: { status: 401, headers: { 'www-authenticate': challenge } } })
      await puller.resolve({ repository: REPOSITORY, tag: 'v1' })
      expect(registry.tokenRequests.slice(before)).toHaveLength(2)
    })

    it('that has expired is not sent', async () => {
      const expired = client({ ...registry.admin, expiresAtMs: Date.now() - 1 }, proxy.host)
      await expect(expired.resolve({ repository: REPOSITORY })).rejects.toMatchObject({
        code: 'registry-unauthorized',
        message: `the credential for ${proxy.host} has expired`,
      })
      expect(proxy.requests).toEqual([])
    })

    it('that is a bearer is sent as it is', async () => {
      const basic = Buffer.from(`admin:${registry.admin.password}`).toString('base64')
      const url = `${registry.realm}?service=slipway-registry&scope=repository:${REPOSITORY}:pull`
      const answer = await fetch(url, { headers: { authorization: `Basic ${basic}` } })
      const { token } = (await answer.json()) as { token: string }
      const before = registry.tokenRequests.length
      expect((await pullLarge(client({ kind: 'bearer', token }))).equals(large)).toBe(true)
      await expect(
        client({ kind: 'bearer', token: `${token}x` }).resolve({ repository: REPOSITORY }),
      ).rejects.toMatchObject({ code: 'registry-unauthorized' })
      expect(registry.tokenRequests).toHaveLength(before)
    })

    it('does not go to a token server that could not be trusted with it', async () => {
      const realms = ['http://r.example/token', 'https://user@r.example/token', 'nonsense']
      for (const realm of realms) {
        proxy.faults.push({
          on: 'GET /v2/',
          answer: { status: 401, headers: { 'www-authenticate': `Bearer realm="${realm}"` } },
        })
        await expect(throughProxy().resolve({ repository: REPOSITORY })).rejects.toMatchObject({
          code: 'registry-address-refused',
        })
      }
    })

    it('does not follow a redirect to another host', async () => {
      const seen: IncomingHttpHeaders[] = []
      const storage = createServer((request, response) => {
        seen.push(request.headers)
        if (seen.length === 1) response.writeHead(403).end('expired')
        else response.end(large)
      })
      storage.listen(0, '127.0.0.1')
      await once(storage, 'listening')
      closing.push(() => storage.close().closeAllConnections())
      const location = `http://127.0.0.1:${(storage.address() as AddressInfo).port}/blob?X-Signature=secret`
      const puller = throughProxy()
      await puller.resolve({ repository: REPOSITORY, tag: 'v1' })
      proxy.faults.push({
        on: `GET /v2/${REPOSITORY}/blobs/`,
        times: 2,
        answer: { status: 307, headers: { location } },
      })
      expect((await pullLarge(puller)).equals(large)).toBe(true)
      expect(seen.map(({ authorization }) => authorization)).toEqual([undefined, undefined])
      proxy.faults.push({
        on: `GET /v2/${REPOSITORY}/blobs/`,
        answer: { status: 307, headers: { location: 'http://r.example/blob?X-Signature=secret' } },
      })
      await expect(pullLarge(puller)).rejects.toMatchObject({
        code: 'registry-address-refused',
        message: `${proxy.host} sends on to an address that is refused: http://r.example/blob?X-Signature=…: it leads to an address without https`,
      })
    })
  })

  it('takes tokens of a new signing key without a restart, and of the former one too', async () => {
    const former = client()
    await former.resolve({ repository: REPOSITORY, tag: 'v1' })
    registry.keys.rotate(Date.now())
    const before = registry.tokenRequests.length
    expect((await pullLarge(client())).equals(large)).toBe(true)
    await former.resolve({ repository: REPOSITORY, tag: 'v1' })
    expect(registry.tokenRequests.slice(before)).toHaveLength(1)
  })

  it('serves skopeo: inspect, copy to another repository, and nothing beyond its rights', async () => {
    const password = await registry.users.add('skopeo', ['pull:default/*', 'pull,push:copies/*'])
    const authFile = join(home, 'auth.json')
    const auth = Buffer.from(`skopeo:${password}`).toString('base64')
    writeFileSync(authFile, JSON.stringify({ auths: { [registry.host]: { auth } } }))
    const skopeo = (...args: string[]) => run('skopeo', [...args, '--authfile', authFile])
    const source = `docker://${registry.host}/${REPOSITORY}:v1`
    const inspected = await skopeo('inspect', '--tls-verify=false', source)
    expect(JSON.parse(inspected.stdout)).toMatchObject({
      Digest: image.manifest.descriptor.digest,
      Created: '1980-01-02T00:00:00Z',
    })
    const copy = ['copy', '--src-tls-verify=false', '--dest-tls-verify=false', source]
    await skopeo(...copy, `docker://${registry.host}/copies/hello:v1`)
    expect((await client().resolve({ repository: 'copies/hello', tag: 'v1' })).descriptor).toEqual(
      image.manifest.descriptor,
    )
    const refused = skopeo(...copy, `docker://${registry.host}/others/hello:v1`)
    await expect(refused).rejects.toMatchObject({
      code: 'command-failed',
      message: expect.stringContaining('requested access to the resource is denied'),
    })
  })

  it('answers a registry with Basic authentication too', async () => {
    const basic = await startBasicRegistry(home)
    closing.push(basic.stop)
    const pusher = client(basic.credential, basic.host)
    const pushed = await pushSample(pusher, REPOSITORY)
    expect((await pusher.resolve({ repository: REPOSITORY, tag: 'v1' })).descriptor).toEqual(pushed.manifest.descriptor)
    const wrong = client({ ...basic.credential, password: 'wrong' }, basic.host)
    await expect(wrong.resolve({ repository: REPOSITORY })).rejects.toMatchObject({ code: 'registry-unauthorized' })
    await expect(client({ kind: 'anonymous' }, basic.host).resolve({ repository: REPOSITORY })).rejects.toMatchObject({
      code: 'registry-unauthorized',
    })
  })
})

const inAMinute = (): number => Date.now() + 60_000

/** Builds an image of one file and pushes it with the tag `v1`. */
async function pushSample(client: RegistryClient, repository: string): Promise<BuiltImage> {
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

/** A docker-registry with Basic authentication: without a password file it makes a user of its own and logs the password. */
async function startBasicRegistry(home: string) {
  const configFile = join(home, 'basic.yml')
  const config = {
    version: 0.1,
    log: { level: 'info', formatter: 'json' },
    storage: { filesystem: { rootdirectory: join(home, 'basic') } },
    http: { addr: '127.0.0.1:0' },
    auth: { htpasswd: { realm: 'basic', path: join(home, 'htpasswd') } },
  }
  writeFileSync(configFile, JSON.stringify(config))
  const child = spawn('setpriv', ['--pdeathsig', 'KILL', 'docker-registry', 'serve', configFile], {
    stdio: ['ignore', 'ignore', 'pipe'],
  })
  const exited = once(child, 'exit')
  let password = ''
  let host = ''
  for await (const line of createInterface(child.stderr)) {
    const event = JSON.parse(line) as { password?: string; msg?: string }
    password = event.password ?? password
    host = /listening on (127\.0\.0\.1:[0-9]+)/.exec(event.msg ?? '')?.[1] ?? ''
    if (host !== '') break
  }
  expect(readFileSync(join(home, 'htpasswd'), 'utf8')).toMatch(/^docker:/)
  const credential: Extract<Credential, { kind: 'basic' }> = { kind: 'basic', username: 'docker', password }
  const stop = async (): Promise<void> => {
    child.kill('SIGKILL')
    await exited
  }
  return { host, credential, stop }
}
