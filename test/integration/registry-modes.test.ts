import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { createServer, type Server } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { createLogger } from '../../common/index.ts'
import { type Descriptor, digestOf, MEDIA, RegistryClient } from '../../oci/index.ts'
import {
  LOCAL_REGISTRY_NAMES,
  SigningKeys,
  TemporaryCredentials,
  TokenServer,
  tokenHandler,
} from '../../registry-auth/index.ts'
import { makeDataDirectory } from '../../runtime-shim/host/data-directory.ts'
import { LocalRegistryProcess } from '../../runtime-shim/host/registry-process.ts'
import { freePort } from '../helpers/platform.ts'
import { requireProgram } from '../helpers/programs.ts'
import { pushSample } from '../helpers/registry-fixture.ts'

describe.skipIf(!requireProgram('docker-registry', 'setpriv', 'find'))('the registry of a supervisor', () => {
  const home = mkdtempSync(join(tmpdir(), 'slipway-registry-modes-'))
  const keys = SigningKeys.open(join(home, 'keys'))
  const temporary = new TemporaryCredentials()
  let tokens: Server
  let registry: LocalRegistryProcess
  let client: RegistryClient
  beforeAll(async () => {
    const handle = tokenHandler(new TokenServer({ ...LOCAL_REGISTRY_NAMES, keys, authenticator: temporary }))
    tokens = createServer((request, response) => void handle(request, response))
    const [gatewayPort, port] = [await freePort(), await freePort()]
    tokens.listen(gatewayPort, '127.0.0.1')
    await once(tokens, 'listening')
    const paths = makeDataDirectory(join(home, 'data'))
    const logger = createLogger('test', { write: () => undefined })
    registry = new LocalRegistryProcess({ paths, port, gatewayPort, logger, onStarted: () => undefined })
    await registry.ensure(keys.caCertificatePem)
    const grants = [{ repository: '*', actions: ['pull', 'push', 'delete'] }] as const
    const { username, password } = temporary.issue(grants, Date.now() + 600_000)
    client = new RegistryClient({
      registry: `127.0.0.1:${port}`,
      credential: { kind: 'basic', username, password },
    })
  })
  afterAll(async () => {
    await client?.close()
    await registry?.close()
    tokens?.close().closeAllConnections()
    rmSync(home, { recursive: true, force: true })
  })

  const pull = () => client.resolve({ repository: 'a/b', tag: 'v1' })
  const readOnly = { code: 'registry-error', details: { status: 405 } }

  it('takes no pushes while it is read-only, and serves pulls', async () => {
    await pushSample(client, 'a/b')
    await registry.setMode('read-only')
    await pull()
    await expect(pushSample(client, 'c/d')).rejects.toMatchObject(readOnly)
    await registry.setMode('serve')
    await pushSample(client, 'c/d')
  })

  it('is writable again when the next server is ready, whatever the one before it had begun', async () => {
    await registry.setMode('read-only')
    await registry.ensure(keys.caCertificatePem)
    await pushSample(client, 'e/f')
    const collecting = registry.collect().catch((thrown: unknown) => thrown)
    await sleep(50)
    await registry.ensure(keys.caCertificatePem)
    await collecting
    await pushSample(client, 'g/h')
    await pull()
  })

  it('ends an upload that began before it became read-only, and is reached meanwhile', {
    timeout: 30_000,
  }, async () => {
    const [first, second] = [randomBytes(100_000), randomBytes(100_000)]
    const bytes = Buffer.concat([first, second])
    const blob: Descriptor = { mediaType: MEDIA.ociLayerTar, digest: digestOf(bytes), size: bytes.length }
    const half = Promise.withResolvers<void>()
    const rest = Promise.withResolvers<void>()
    const slowly = async function* (): AsyncGenerator<Buffer> {
      yield first
      half.resolve()
      await rest.promise
      yield second
    }
    const upload = client.uploadBlob('a/slow', blob, () => Readable.from(slowly()))
    await half.promise
    await sleep(100)
    const former = registry.current?.pid
    const switched = registry.setMode('read-only')
    while (registry.current === undefined || registry.current.pid === former) await sleep(5)
    while ((await pull().catch(() => undefined)) === undefined) await sleep(5)
    expect(readFileSync(`/proc/${former}/comm`, 'utf8')).toContain('docker-registry'.slice(0, 15))
    rest.resolve()
    await upload
    await switched
    expect(await client.hasBlob('a/slow', blob)).toBe(true)
    await registry.setMode('serve')
  })

  it('removes blobs that nothing refers to, and no other', async () => {
    const image = await pushSample(client, 'a/gone')
    await client.deleteManifest('a/gone', image.manifest.descriptor.digest)
    const [layer = image.config.descriptor] = image.layers
    await registry.collect()
    await registry.setMode('serve')
    expect(await client.hasBlob('a/gone', layer)).toBe(false)
    const kept = await pull()
    expect(kept.document.kind).toBe('manifest')
  })
})
