import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { RegistryClient } from '../../oci/index.ts'
import { TemporaryCredentials } from '../../registry-auth/index.ts'
import { requireProgram } from '../helpers/programs.ts'
import { pushSample } from '../helpers/registry-fixture.ts'
import { registryThree } from '../helpers/registry-three.ts'
import { startTokenRegistry, type TokenRegistry } from '../helpers/token-registry.ts'

const ROTATING_MS = 2_000

const three = await registryThree()
const versions = [
  ...(requireProgram('docker-registry', 'setpriv') ? [{ version: '2.8', program: 'docker-registry' }] : []),
  ...(three === undefined ? [] : [{ version: '3', program: three }]),
]

describe.each(versions)('a registry of version $version', ({ program }) => {
  let registry: TokenRegistry
  let admin: RegistryClient
  beforeAll(async () => {
    registry = await startTokenRegistry(new TemporaryCredentials(), program)
    admin = new RegistryClient({ registry: registry.host, credential: registry.admin })
    await pushSample(admin, 'default/hello')
  })
  afterAll(async () => {
    await admin?.close()
    await registry?.stop()
  })

  const as = (username: string, password: string) =>
    new RegistryClient({ registry: registry.host, credential: { kind: 'basic', username, password } })

  it('takes our tokens for pull, push and deletion, and refuses what they do not say', async () => {
    const image = await pushSample(admin, 'default/other')
    const password = await registry.users.add('reader', ['pull:default/hello'])
    const reader = as('reader', password)
    await reader.resolve({ repository: 'default/hello', tag: 'v1' })
    const denied = { code: 'registry-denied' }
    await expect(reader.resolve({ repository: 'default/other', tag: 'v1' })).rejects.toMatchObject(denied)
    await expect(pushSample(reader, 'default/hello')).rejects.toMatchObject(denied)
    const { digest } = image.manifest.descriptor
    await expect(reader.deleteManifest('default/other', digest)).rejects.toMatchObject(denied)
    await reader.close()
    await admin.deleteManifest('default/other', digest)
    await expect(admin.readManifest('default/other', digest)).rejects.toMatchObject({ code: 'image-not-found' })
  })

  it('serves every client while the signing key is replaced again and again', async () => {
    const certificates = new Set<string>()
    const rotating = setInterval(() => certificates.add(registry.keys.rotate(Date.now()).x5c.join()), 20)
    const untilMs = Date.now() + ROTATING_MS
    let rounds = 0
    const work = async (): Promise<void> => {
      for (; Date.now() < untilMs; rounds += 1) {
        const pull = registry.temporary.issuePull('default/hello', Date.now() + 10_000)
        const client = as(pull.username, pull.password)
        await client.resolve({ repository: 'default/hello', tag: 'v1' })
        await sleep(15) // so that the same bearer is shown again after its key was replaced
        await client.resolve({ repository: 'default/hello', tag: 'v1' })
        await client.close()
        pull.end()
      }
    }
    try {
      await Promise.all([work(), work(), work()])
    } finally {
      clearInterval(rotating)
    }
    expect(certificates.size).toBeGreaterThan(10)
    expect(rounds).toBeGreaterThan(20)
  })
})
