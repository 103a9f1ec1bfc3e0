import { rmSync } from 'node:fs'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { RegistryClient } from '../../oci/index.ts'
import { requireDocker, startTestDockerd, type TestDockerd } from '../helpers/dockerd.ts'
import { requireProgram } from '../helpers/programs.ts'
import { CLIENTS, RegistryClients, type RegistryUser } from '../helpers/registry-clients.ts'
import { pushSample } from '../helpers/registry-fixture.ts'
import { startTokenRegistry, type TokenRegistry } from '../helpers/token-registry.ts'

const canRun = requireProgram('docker-registry', 'setpriv', ...CLIENTS) && (await requireDocker())

describe.skipIf(!canRun)('the local registry serves', () => {
  let registry: TokenRegistry
  let docker: TestDockerd
  let clients: RegistryClients
  let admin: RegistryClient
  beforeAll(async () => {
    ;[registry, docker] = await Promise.all([startTokenRegistry(), startTestDockerd()])
    clients = new RegistryClients(registry.host, docker.socketPath)
    admin = new RegistryClient({ registry: registry.host, credential: registry.admin })
    for (const repository of ['default/hello', 'others/hello', 'public/hello']) await pushSample(admin, repository)
    await registry.users.setRights('anonymous', ['pull:public/*'])
  })
  afterAll(async () => {
    await admin?.close()
    await docker?.close()
    await registry?.stop()
    if (clients !== undefined) rmSync(clients.home, { recursive: true, force: true })
  })

  const at = (name: string): string => `${registry.host}/${name}`

  describe.each(CLIENTS)('%s:', (name) => {
    let user: RegistryUser
    let password: string
    beforeAll(async () => {
      user = clients.open(name)
      password = await registry.users.add(name, ['pull:default/*', `pull,push,delete:team/${name}`])
    })

    it('login, with a wrong password refused', async () => {
      const wrong = await clients.open(name).login(name, 'wrong')
      expect(wrong).toMatchObject({
        ok: false,
        text: expect.stringMatching(/unauthorized|invalid username\/password/i),
      })
      expect(await user.login(name, password)).toMatchObject({ ok: true })
    })

    it('pull, push and copy to another repository', async () => {
      expect(await user.copy(at('default/hello:v1'), at(`team/${name}:v1`))).toMatchObject({ ok: true })
      const copied = await admin.resolve({ repository: `team/${name}`, tag: 'v1' })
      const config = copied.document.kind === 'manifest' ? copied.document.manifest.config.digest : ''
      const source = await admin.resolve({ repository: 'default/hello', tag: 'v1' })
      expect(source.document.kind === 'manifest' && source.document.manifest.config.digest).toBe(config)
    })

    it('what it has no right to is denied: to push, and to pull from another repository', async () => {
      const denied = { ok: false, text: expect.stringMatching(/denied|unauthorized|authentication required/i) }
      expect(await user.copy(at('default/hello:v1'), at('default/other:v1'))).toMatchObject(denied)
      expect(await user.pull(at('others/hello:v1'))).toMatchObject(denied)
      await expect(admin.resolve({ repository: 'default/other', tag: 'v1' })).rejects.toMatchObject({
        code: 'image-not-found',
      })
    })

    it('list of tags and deletion, where it has commands for them', async () => {
      if (user.tags !== undefined) {
        expect(await user.tags(at(`team/${name}`))).toMatchObject({ ok: true, text: expect.stringContaining('v1') })
        expect(await user.tags(at('others/hello'))).toMatchObject({ ok: false })
      }
      if (user.remove !== undefined) {
        expect(await user.remove(at('default/hello:v1'))).toMatchObject({ ok: false })
        expect(await user.remove(at(`team/${name}:v1`))).toMatchObject({ ok: true })
        expect(await admin.listTags(`team/${name}`)).toEqual([])
      }
      expect([user.tags !== undefined, user.remove !== undefined]).toEqual([
        name === 'skopeo' || name === 'podman',
        name === 'skopeo',
      ])
    })

    it('a credential that has ended is refused, and a user who was revoked', async () => {
      const refused = { ok: false, text: expect.stringMatching(/unauthorized|invalid username\/password/i) }
      const pull = registry.temporary.issuePull('default/hello', Date.now() + 60_000)
      const temporary = clients.open(name)
      await temporary.login(pull.username, pull.password)
      expect(await temporary.pull(at('default/hello:v1'))).toMatchObject({ ok: true })
      pull.end()
      expect(await temporary.pull(at('default/hello:v1'))).toMatchObject(refused)
      const revoked = clients.open(name)
      const once = await registry.users.add(`${name}-once`, ['pull:default/*'])
      await revoked.login(`${name}-once`, once)
      await registry.users.revoke(`${name}-once`)
      expect(await revoked.pull(at('default/hello:v1'))).toMatchObject(refused)
    })

    it('a refresh token is exchanged for bearers, until its user is revoked', async () => {
      const refreshing = clients.open(name)
      await registry.users.add(`${name}-refresh`, ['pull:default/*'])
      refreshing.useIdentityToken((await registry.users.issueRefresh(`${name}-refresh`)) ?? '')
      const before = registry.tokenRequests.length
      expect(await refreshing.pull(at('default/hello:v1'))).toMatchObject({ ok: true })
      expect(registry.tokenRequests.slice(before)).toContain('POST 200')
      await registry.users.revoke(`${name}-refresh`)
      expect(await refreshing.pull(at('default/hello:v1'))).toMatchObject({ ok: false })
    })

    it('without a login what everybody may pull, and nothing else', async () => {
      const nobody = clients.open(name)
      expect(await nobody.pull(at('public/hello:v1'))).toMatchObject({ ok: true })
      expect(await nobody.pull(at('default/hello:v1'))).toMatchObject({ ok: false })
      expect(await nobody.copy(at('public/hello:v1'), at('public/other:v1'))).toMatchObject({ ok: false })
    })
  })
})
