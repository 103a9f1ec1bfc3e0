import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer, type IncomingHttpHeaders } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { run } from '../../common/index.ts'
import { type Credential, MEDIA } from '../../oci/index.ts'
import { requireProgram } from '../helpers/programs.ts'
import { pushSample, REPOSITORY, useRegistryFixture } from '../helpers/registry-fixture.ts'
import { startBasicRegistry } from '../helpers/registry-process.ts'

describe.skipIf(!requireProgram('docker-registry', 'setpriv', 'skopeo'))('the local registry with tokens', () => {
  const fixture = useRegistryFixture()
  const { large, largeBlob, closing, client, throughProxy, pullLarge } = fixture
  let home: string
  beforeAll(() => {
    home = mkdtempSync(join(tmpdir(), 'slipway-registry-test-'))
  })
  afterAll(() => rmSync(home, { recursive: true, force: true }))

  describe('a credential', () => {
    it('with a wrong password is refused as unauthorized', async () => {
      const wrong = client({ ...fixture.registry.admin, password: 'wrong' })
      await expect(wrong.resolve({ repository: REPOSITORY })).rejects.toMatchObject({
        code: 'registry-unauthorized',
        fault: 'user',
        message: expect.stringContaining('wrong user name or password, or a credential that has ended'),
      })
    })

    it('without the right is refused as denied, each right apart', async () => {
      const password = await fixture.registry.users.add('reader', [`pull:${REPOSITORY}`])
      const reader = client({ kind: 'basic', username: 'reader', password })
      expect((await reader.resolve({ repository: REPOSITORY, tag: 'v1' })).descriptor).toEqual(
        fixture.image.manifest.descriptor,
      )
      const denied = [
        reader.resolve({ repository: 'default/other' }),
        reader.uploadBlob(REPOSITORY, largeBlob, large),
        reader.putManifest(REPOSITORY, 'v2', MEDIA.ociManifest, fixture.image.manifest.bytes),
        reader.deleteManifest(REPOSITORY, fixture.image.manifest.descriptor.digest),
        client({ kind: 'anonymous' }).resolve({ repository: REPOSITORY }),
      ]
      const outcomes = await Promise.allSettled(denied)
      for (const outcome of outcomes)
        expect(outcome).toMatchObject({ reason: { code: 'registry-denied', fault: 'user' } })
    })

    it('made for one pull opens one repository, and is refused by the token server from its end', async () => {
      const pull = fixture.registry.temporary.issuePull(REPOSITORY, inAMinute())
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
      const before = fixture.registry.tokenRequests.length
      const puller = throughProxy()
      await Promise.all(Array.from({ length: 8 }, () => pullLarge(puller)))
      expect(fixture.registry.tokenRequests.slice(before)).toEqual([`GET 200 repository:${REPOSITORY}:pull`])
      const challenge = `Bearer realm="${fixture.registry.realm}",service="slipway-registry",error="invalid_token"`
      fixture.proxy.faults.push({ on: 'GET /v2/', answer: { status: 401, headers: { 'www-authenticate': challenge } } })
      await puller.resolve({ repository: REPOSITORY, tag: 'v1' })
      expect(fixture.registry.tokenRequests.slice(before)).toHaveLength(2)
    })

    it('that has expired is not sent', async () => {
      const expired = client({ ...fixture.registry.admin, expiresAtMs: Date.now() - 1 }, fixture.proxy.host)
      await expect(expired.resolve({ repository: REPOSITORY })).rejects.toMatchObject({
        code: 'registry-unauthorized',
        message: `the credential for ${fixture.proxy.host} has expired`,
      })
      expect(fixture.proxy.requests).toEqual([])
    })

    it('that is a bearer is sent as it is', async () => {
      const basic = Buffer.from(`admin:${fixture.registry.admin.password}`).toString('base64')
      const url = `${fixture.registry.realm}?service=slipway-registry&scope=repository:${REPOSITORY}:pull`
      const answer = await fetch(url, { headers: { authorization: `Basic ${basic}` } })
      const { token } = (await answer.json()) as { token: string }
      const before = fixture.registry.tokenRequests.length
      expect((await pullLarge(client({ kind: 'bearer', token }))).equals(large)).toBe(true)
      await expect(
        client({ kind: 'bearer', token: `${token}x` }).resolve({ repository: REPOSITORY }),
      ).rejects.toMatchObject({ code: 'registry-unauthorized' })
      expect(fixture.registry.tokenRequests).toHaveLength(before)
    })

    it('does not go to a token server that could not be trusted with it', async () => {
      const realms = ['http://r.example/token', 'https://user@r.example/token', 'nonsense']
      for (const realm of realms) {
        fixture.proxy.faults.push({
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
      fixture.proxy.faults.push({
        on: `GET /v2/${REPOSITORY}/blobs/`,
        times: 2,
        answer: { status: 307, headers: { location } },
      })
      expect((await pullLarge(puller)).equals(large)).toBe(true)
      expect(seen.map(({ authorization }) => authorization)).toEqual([undefined, undefined])
      fixture.proxy.faults.push({
        on: `GET /v2/${REPOSITORY}/blobs/`,
        answer: { status: 307, headers: { location: 'http://r.example/blob?X-Signature=secret' } },
      })
      await expect(pullLarge(puller)).rejects.toMatchObject({
        code: 'registry-address-refused',
        message: `${fixture.proxy.host} leads to http://r.example/blob?X-Signature=…, which is refused: it leads to an address without https`,
      })
    })
  })

  it('takes tokens of a new signing key without a restart, and of the former one too', async () => {
    const former = client()
    await former.resolve({ repository: REPOSITORY, tag: 'v1' })
    fixture.registry.keys.rotate(Date.now())
    const before = fixture.registry.tokenRequests.length
    expect((await pullLarge(client())).equals(large)).toBe(true)
    await former.resolve({ repository: REPOSITORY, tag: 'v1' })
    expect(fixture.registry.tokenRequests.slice(before)).toHaveLength(1)
  })

  it('serves skopeo: inspect, copy to another repository, and nothing beyond its rights', async () => {
    const password = await fixture.registry.users.add('skopeo', ['pull:default/*', 'pull,push:copies/*'])
    const authFile = join(home, 'auth.json')
    const auth = Buffer.from(`skopeo:${password}`).toString('base64')
    writeFileSync(authFile, JSON.stringify({ auths: { [fixture.registry.host]: { auth } } }))
    const skopeo = (...args: string[]) => run('skopeo', [...args, '--authfile', authFile])
    const source = `docker://${fixture.registry.host}/${REPOSITORY}:v1`
    const inspected = await skopeo('inspect', '--tls-verify=false', source)
    expect(JSON.parse(inspected.stdout)).toMatchObject({
      Digest: fixture.image.manifest.descriptor.digest,
      Created: '1980-01-02T00:00:00Z',
    })
    const copy = ['copy', '--src-tls-verify=false', '--dest-tls-verify=false', source]
    await skopeo(...copy, `docker://${fixture.registry.host}/copies/hello:v1`)
    expect((await client().resolve({ repository: 'copies/hello', tag: 'v1' })).descriptor).toEqual(
      fixture.image.manifest.descriptor,
    )
    const refused = skopeo(...copy, `docker://${fixture.registry.host}/others/hello:v1`)
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
