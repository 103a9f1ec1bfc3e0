import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { createLogger } from '../../common/index.ts'
import { type Digest, digestOf, MEDIA, RegistryClient } from '../../oci/index.ts'
import type { Credential } from '../../registry-auth/index.ts'
import { openDockerEngine } from '../../runtime-shim/engines/docker.ts'
import type { Engine, PreparedImage } from '../../runtime-shim/engines/engine.ts'
import { requireDocker, startTestDockerd, type TestDockerd } from '../helpers/dockerd.ts'
import { type MadeImage, makeImage } from '../helpers/made-image.ts'
import { startPasswordRegistry } from '../helpers/password-registry.ts'
import { requireProgram } from '../helpers/programs.ts'
import { file, makeTar } from '../helpers/tar-maker.ts'
import { startTokenRegistry, type TokenRegistry } from '../helpers/token-registry.ts'

const REPOSITORY = 'default/pulled'
const SOON = 30_000

const possible = (await requireDocker()) && requireProgram('docker-registry')

describe.skipIf(!possible)('a Docker Engine that prepares an image', () => {
  let dockerd: TestDockerd
  let registry: TokenRegistry
  let engine: Engine
  let home: string
  beforeAll(async () => {
    home = mkdtempSync(join(tmpdir(), 'slipway-docker-pull-'))
    dockerd = await startTestDockerd()
    registry = await startTokenRegistry()
    engine = await openDockerEngine({
      socketPath: dockerd.socketPath,
      hash: 'cafe0002',
      workDirectory: home,
      log: createLogger('test'),
    })
  })
  afterAll(async () => {
    await engine?.close()
    await registry?.stop()
    await dockerd?.close()
    rmSync(home, { recursive: true, force: true })
  })

  let made = 0
  /** Pushes an image that no Engine has seen. */
  const push = async (changes: { architecture?: string } = {}): Promise<Digest> => {
    made += 1
    const image = makeImage([makeTar([file(`file-${process.pid}-${Date.now()}-${made}`)])])
    return pushImage(registry, changes.architecture === undefined ? image : otherPlatform(image, changes.architecture))
  }
  const prepare = (
    digest: Digest,
    credential: Credential | null,
    ms = SOON,
    signal?: AbortSignal,
  ): Promise<PreparedImage> =>
    engine.prepare(
      { registry: registry.host, repository: REPOSITORY, digest, credential, deadlineMs: Date.now() + ms },
      signal,
    )
  const credentialOnce = (repository = REPOSITORY): Credential & { end(): void } => {
    const issued = registry.temporary.issuePull(repository, Date.now() + SOON)
    return { kind: 'basic', username: issued.username, password: issued.password, end: () => issued.end() }
  }

  it('uses the user name and password made for this pull, and asks nobody once it is local', async () => {
    const digest = await push()
    const credential = credentialOnce()
    expect(await prepare(digest, credential)).toMatchObject({
      digest,
      pulled: true,
      config: { config: { Cmd: ['/x'] } },
    })
    credential.end()
    const before = registry.tokenRequests.length
    expect(await prepare(digest, credential)).toMatchObject({ digest, pulled: false, pullMs: 0 })
    expect(await prepare(digest, null)).toMatchObject({ digest, pulled: false })
    expect(registry.tokenRequests.length).toBe(before)
  })

  it('takes a bearer as it is, without a token server', async () => {
    const digest = await push()
    const answer = await fetch(`${registry.realm}?service=slipway-registry&scope=repository:${REPOSITORY}:pull`, {
      headers: { authorization: `Basic ${btoa(`${registry.admin.username}:${registry.admin.password}`)}` },
    })
    const { token } = (await answer.json()) as { token: string }
    const before = registry.tokenRequests.length
    expect(await prepare(digest, { kind: 'bearer', token })).toMatchObject({ pulled: true })
    expect(registry.tokenRequests.length).toBe(before)
  })

  it('exchanges a refresh token at the token server, and the user AWS needs none', async () => {
    const token = await registry.users.issueRefresh('admin')
    if (token === undefined) throw new Error('the admin is a user')
    const before = registry.tokenRequests.length
    expect(await prepare(await push(), { kind: 'identity', token })).toMatchObject({ pulled: true })
    expect(registry.tokenRequests.slice(before)).toContainEqual(expect.stringMatching(/^POST 200/))
    const users = { AWS: 'the-password-of-ecr' }
    const basic = await startPasswordRegistry(users)
    try {
      const admin: Credential = { kind: 'basic', username: 'AWS', password: users.AWS }
      const image = makeImage([makeTar([file(`file-${process.pid}-${Date.now()}-basic`)])])
      const digest = await pushImage({ host: basic.host, admin }, image)
      const request = { registry: basic.host, repository: REPOSITORY, digest, deadlineMs: Date.now() + SOON }
      const wrong = { ...admin, password: 'wrong', source: 'ecr eu-central-1' }
      await expect(engine.prepare({ ...request, credential: wrong })).rejects.toMatchObject({
        code: 'pull-failed',
        hint: 'check the credential from ecr eu-central-1 and its right to pull from this repository',
      })
      expect(await engine.prepare({ ...request, credential: admin })).toMatchObject({ pulled: true })
    } finally {
      await basic.stop()
    }
  })

  it('fetches nothing without a credential', async () => {
    await expect(prepare(await push(), null)).rejects.toMatchObject({ code: 'image-not-local' })
  })

  it.each([
    ['no credential', (): Credential => ({ kind: 'anonymous' })],
    ['a wrong password', (): Credential => ({ kind: 'basic', username: 'admin', password: 'wrong' })],
    ['a credential whose pull has ended', (): Credential => endedNow(credentialOnce())],
    ['a credential for another repository', (): Credential => credentialOnce('default/other')],
  ])('fails with the words of the registry for %s', async (_, credential) => {
    await expect(prepare(await push(), credential())).rejects.toMatchObject({
      code: 'pull-failed',
      message: expect.stringMatching(/unauthorized|denied|authentication/),
      retryable: false,
    })
  })

  it('says that an unknown digest does not exist', async () => {
    const digest = digestOf('nothing like it')
    await expect(prepare(digest, registry.admin)).rejects.toMatchObject({
      code: 'image-not-found',
      message: expect.stringMatching(new RegExp(`^pull of [^ ]+@${digest} failed: manifest.*unknown`)),
    })
  })

  it('refuses an image for another processor by name', async () => {
    await expect(prepare(await push({ architecture: 's390x' }), registry.admin)).rejects.toMatchObject({
      code: 'image-unsupported',
      message: expect.stringContaining('linux/s390x'),
    })
  })

  it('takes an error inside a successful answer for an error', async () => {
    const digest = await push()
    await prepare(digest, registry.admin)
    // The manifest stays cached, so the Engine answers 200 and finds out about the right to the layers later, in the stream.
    await untag(dockerd.socketPath, `${registry.host}/${REPOSITORY}@${digest}`)
    await expect(prepare(digest, { kind: 'basic', username: 'admin', password: 'wrong' })).rejects.toMatchObject({
      code: 'pull-failed',
      message: expect.stringMatching(/unauthorized|denied|authentication/),
    })
  })

  it('gives up at the deadline, and at once when its caller does', async () => {
    const silent = await silentRegistry()
    const digest = digestOf('never answered')
    const ask = (ms: number, signal?: AbortSignal): Promise<PreparedImage> =>
      engine.prepare(
        {
          registry: silent.host,
          repository: REPOSITORY,
          digest,
          credential: { kind: 'anonymous' },
          deadlineMs: Date.now() + ms,
        },
        signal,
      )
    try {
      const startMs = performance.now()
      await expect(ask(400)).rejects.toMatchObject({ code: 'pull-timeout', retryable: true })
      const reason = new Error('nobody waits')
      const controller = new AbortController()
      const asked = ask(SOON, controller.signal)
      setTimeout(() => controller.abort(reason), 100)
      await expect(asked).rejects.toBe(reason)
      expect(performance.now() - startMs).toBeLessThan(3_000)
    } finally {
      await silent.close()
    }
  })
})

function endedNow(credential: Credential & { end(): void }): Credential {
  credential.end()
  return credential
}

async function pushImage(registry: Pick<TokenRegistry, 'host' | 'admin'>, image: MadeImage): Promise<Digest> {
  const client = new RegistryClient({ registry: registry.host, credential: registry.admin })
  try {
    for (const [digest, { bytes, mediaType }] of image.blobs) {
      if (digest === image.digest) continue
      await client.uploadBlob(REPOSITORY, { digest, mediaType, size: bytes.length }, bytes)
    }
    const manifest = image.blobs.get(image.digest)
    if (manifest === undefined) throw new Error('no manifest')
    return await client.putManifest(REPOSITORY, image.digest, manifest.mediaType, manifest.bytes)
  } finally {
    await client.close()
  }
}

/** The same image with another architecture in its configuration. */
function otherPlatform(image: MadeImage, architecture: string): MadeImage {
  const manifest = JSON.parse(String(image.blobs.get(image.digest)?.bytes)) as {
    config: { digest: Digest; size: number }
  }
  const config = JSON.parse(String(image.blobs.get(manifest.config.digest)?.bytes)) as { architecture: string }
  const configBytes = Buffer.from(JSON.stringify({ ...config, architecture }))
  manifest.config = { ...manifest.config, digest: digestOf(configBytes), size: configBytes.length }
  const bytes = Buffer.from(JSON.stringify(manifest))
  const digest = digestOf(bytes)
  const layers = [...image.blobs].filter(([, blob]) => /layer/.test(blob.mediaType))
  return {
    ...image,
    digest,
    blobs: new Map([
      ...layers,
      [manifest.config.digest, { bytes: configBytes, mediaType: MEDIA.ociConfig }],
      [digest, { bytes, mediaType: MEDIA.ociManifest }],
    ]),
  }
}

async function untag(socketPath: string, reference: string): Promise<void> {
  const { connectDocker } = await import('../../runtime-shim/engines/docker-api.ts')
  await (await connectDocker(socketPath)).docker.getImage(reference).remove()
}

async function silentRegistry(): Promise<{ host: string; close(): Promise<void> }> {
  const server: Server = createServer(() => undefined)
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const close = async (): Promise<void> => {
    server.closeAllConnections()
    server.close()
    await once(server, 'close')
  }
  return { host: `127.0.0.1:${(server.address() as AddressInfo).port}`, close }
}
