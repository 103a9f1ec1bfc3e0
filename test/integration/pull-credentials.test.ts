import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { parse, stringify } from 'yaml'
import { DEFAULT_NAMESPACE_SETTINGS, type PullCredentialEntry, type Version } from '../../api/index.ts'
import { RegistryClient } from '../../oci/index.ts'
import {
  LOCAL_REGISTRY_NAMES,
  registryConfig,
  SigningKeys,
  TemporaryCredentials,
  TokenServer,
  tokenHandler,
} from '../../registry-auth/index.ts'
import { createInstance } from '../../runtime-shim/instances/start.ts'
import type { StartTrace } from '../../runtime-shim/instances/trace.ts'
import { requireProgram } from '../helpers/programs.ts'
import { PullHarness } from '../helpers/pull-harness.ts'
import { startRegistryProcess } from '../helpers/registry-process.ts'
import { secretsFound } from '../helpers/secret-search.ts'

const SOON = 30_000
const STARTS = 200
const STARTS_MS = 240_000
const PATIENT = { timeout: 20_000, interval: 20 }

describe.skipIf(!requireProgram('docker-registry', 'setpriv'))('the credential of a download', () => {
  const harness = new PullHarness()
  beforeAll(() => harness.open())
  afterAll(() => harness.close())

  const start = (version: Version, trace: StartTrace = { phases: {} }, withinMs = SOON) =>
    createInstance(harness.context, version, { reason: 'call' }, Date.now() + withinMs, trace)
  const entry = async (id = ''): Promise<PullCredentialEntry> => {
    const found = await harness.store.credentials.get(id)
    if (found === undefined) throw new Error(`no ${id} in the ledger`)
    return found
  }

  it(
    `is another one in each of ${STARTS} starts one after another with evicted content, and refused after its own`,
    async () => {
      const image = await harness.push('default/evicted')
      const version = await harness.version('default', 'evicted', image)
      const from = harness.prepared.length
      const instances: string[] = []
      const refused: number[] = []
      for (let count = 0; count < STARTS; count += 1) {
        await harness.evict()
        instances.push(await start(version))
        const used = harness.prepared.at(-1)
        // Wrong passwords are counted by address: the authenticator itself is asked, but for some.
        if (used?.credential.kind !== 'basic') throw new Error('no password')
        const { username, password } = used.credential
        refused.push(harness.registry.temporary.check(username, password) === undefined ? 401 : 200)
        if (count % 50 === 0) expect((await harness.tokenStatus(used.credential, 'default/evicted')).status).toBe(401)
      }
      expect(new Set(refused)).toEqual(new Set([401]))
      const used = harness.prepared.slice(from)
      expect(used).toHaveLength(STARTS)
      expect(new Set(used.map(({ credential }) => JSON.stringify(credential))).size).toBe(STARTS)
      const listed = await harness.store.credentials.list({ limit: STARTS })
      expect(listed.map(({ id }) => id)).toEqual(used.map(({ download }) => download).toReversed())
      expect(new Set(listed.map(({ endReason, bearers, provider }) => `${provider} ${bearers} ${endReason}`))).toEqual(
        new Set(['local 1 download ended']),
      )
      expect(listed.flatMap(({ starts }) => starts.map(({ instance }) => instance))).toEqual(instances.toReversed())
      for (const { madeAtMs, firstUsedAtMs, endedAtMs, deadlineMs } of listed) {
        expect(madeAtMs).toBeLessThanOrEqual(firstUsedAtMs ?? 0)
        expect(firstUsedAtMs).toBeLessThanOrEqual(endedAtMs ?? 0)
        expect(endedAtMs).toBeLessThan(deadlineMs)
      }
      expect(harness.registry.temporary.size).toBe(0)
    },
    STARTS_MS,
  )

  it('is exchanged for bearers that the registry takes for 61 s', async () => {
    const image = await harness.push('default/bearer')
    const blob = `http://${harness.registry.host}/v2/default/bearer/manifests/${image.digest}`
    const statusOfAge = async (ageMs: number): Promise<number> => {
      const { temporary, keys } = harness.registry
      const server = new TokenServer({
        service: 'slipway-registry',
        issuer: 'slipway',
        keys,
        authenticator: temporary,
        now: () => Date.now() - ageMs,
      })
      const issued = temporary.issuePull('default/bearer', Date.now() + SOON)
      const authorization = `Basic ${Buffer.from(`${issued.username}:${issued.password}`).toString('base64')}`
      const query = new URLSearchParams({ service: 'slipway-registry', scope: 'repository:default/bearer:pull' })
      const form = new URLSearchParams()
      const answer = await server.answer({ method: 'GET', query, authorization, form, address: '127.0.0.1' })
      issued.end()
      const { token, expires_in } = JSON.parse(answer.body) as { token: string; expires_in: number }
      expect(expires_in).toBe(60)
      const accept = 'application/vnd.oci.image.manifest.v1+json'
      const response = await fetch(blob, { headers: { authorization: `Bearer ${token}`, accept } })
      await response.arrayBuffer()
      return response.status
    }
    expect(await statusOfAge(0)).toBe(200)
    expect(await statusOfAge(58_000)).toBe(200)
    expect(await statusOfAge(62_500)).toBe(401)
  })

  it('is shared by the starts that wait for one download, and not made where every blob is local', async () => {
    await harness.evict()
    const image = await harness.push('default/shared')
    await harness.store.putNamespace({
      name: 'guest',
      ...DEFAULT_NAMESPACE_SETTINGS,
      pull: ['default/shared'],
      createdAtMs: 1,
    })
    const versions = [
      await harness.version('default', 'shared', image),
      await harness.version('default', 'shared', image),
      await harness.version('guest', 'borrowed', image, 'default/shared'),
    ]
    const from = harness.prepared.length
    const opened = Promise.withResolvers<void>()
    harness.gate = () => opened.promise
    const traces: StartTrace[] = versions.map(() => ({ phases: {} }))
    const starts = versions.map((version, at) => start(version, traces[at]))
    const stranger = await harness.version('stranger', 'thief', image, 'default/shared')
    await expect(start(stranger)).rejects.toMatchObject({ code: 'image-not-allowed', fault: 'user' })
    opened.resolve()
    const instances = await Promise.all(starts)
    harness.gate = async () => undefined
    expect(harness.prepared.slice(from)).toHaveLength(1)
    expect(new Set(traces.map(({ credential }) => credential)).size).toBe(1)
    const kept = await entry(traces[0]?.credential)
    expect(kept.starts.map((one) => `${one.namespace}/${one.function} ${one.instance}`).toSorted()).toEqual(
      [`default/shared ${instances[0]}`, `default/shared ${instances[1]}`, `guest/borrowed ${instances[2]}`].toSorted(),
    )
    const local: StartTrace = { phases: {} }
    await start(versions[0] as Version, local)
    expect(local).toEqual({ phases: { create: 1 } })
    expect(harness.prepared.slice(from)).toHaveLength(1)
  })

  it('cannot be had by a namespace that lost its right, however local the image is', async () => {
    const image = await harness.push('default/lost')
    const namespace = { name: 'loser', ...DEFAULT_NAMESPACE_SETTINGS, createdAtMs: 1 }
    await harness.store.putNamespace({ ...namespace, pull: ['default/lost'] })
    const version = await harness.version('loser', 'borrowed', image, 'default/lost')
    await start(version)
    await harness.store.putNamespace({ ...namespace, pull: [] })
    await expect(start(version)).rejects.toMatchObject({
      code: 'image-not-allowed',
      message: expect.stringMatching(/^namespace loser may not run images of 127\.0\.0\.1:\d+\/default\/lost$/),
    })
  })

  it('ends at its deadline, with the download and without', async () => {
    await harness.evict()
    const image = await harness.push('default/slow')
    const version = await harness.version('default', 'slow', image)
    const opened = Promise.withResolvers<void>()
    harness.gate = () => opened.promise
    const trace: StartTrace = { phases: {} }
    const failing = start(version, trace, 300)
    await expect.poll(() => trace.credential, PATIENT).toBeDefined()
    const id = trace.credential ?? ''
    await expect.poll(() => harness.issuer.isInForce(id), PATIENT).toBe(false)
    expect(await entry(id)).toMatchObject({ endReason: 'deadline', firstUsedAtMs: null, bearers: 0 })
    opened.resolve()
    await expect(failing).rejects.toMatchObject({ code: 'pull-timeout' })
    harness.gate = async () => undefined
  })

  it('ended by request ends its download at once', async () => {
    await harness.evict()
    const image = await harness.push('default/ended')
    const version = await harness.version('default', 'ended', image)
    const opened = Promise.withResolvers<void>()
    harness.gate = () => opened.promise
    const trace: StartTrace = { phases: {} }
    const failing = start(version, trace)
    await expect.poll(() => trace.credential, PATIENT).toBeDefined()
    const id = trace.credential ?? ''
    expect(harness.issuer.end(id, 'ended by admin')).toBe(true)
    harness.supervisor.cancel(id, 'ended by admin')
    opened.resolve()
    await expect(failing).rejects.toMatchObject({
      code: 'pull-cancelled',
      message: expect.stringContaining('ended by admin'),
    })
    expect(await entry(id)).toMatchObject({ endReason: 'ended by admin' })
    expect(harness.issuer.end(id, 'again')).toBe(false)
    harness.gate = async () => undefined
  })
})

describe.skipIf(!requireProgram('docker-registry', 'setpriv'))('the access log of the registry', () => {
  it('holds no secret of those who pull', async () => {
    const home = mkdtempSync(join(tmpdir(), 'slipway-access-log-'))
    const keys = SigningKeys.open(join(home, 'keys'))
    const temporary = new TemporaryCredentials()
    const tokens = new TokenServer({ ...LOCAL_REGISTRY_NAMES, keys, authenticator: temporary })
    const handle = tokenHandler(tokens)
    const realm = createServer((request, response) => void handle(request, response))
    realm.listen(0, '127.0.0.1')
    await once(realm, 'listening')
    const caFile = join(home, 'ca.pem')
    writeFileSync(caFile, keys.caCertificatePem)
    const config = registryConfig({
      address: '127.0.0.1',
      port: 0,
      storageDirectory: join(home, 'data'),
      realm: `http://127.0.0.1:${(realm.address() as AddressInfo).port}/token`,
      ...LOCAL_REGISTRY_NAMES,
      caFile,
      logLevel: 'info',
    })
    const logging = parse(config) as { log: { accesslog: { disabled: boolean } } }
    logging.log.accesslog.disabled = false
    const registry = await startRegistryProcess(join(home, 'config.yml'), stringify(logging))
    try {
      const { username, password } = temporary.issuePull('default/hello', Date.now() + SOON)
      const client = new RegistryClient({ registry: registry.host, credential: { kind: 'basic', username, password } })
      await expect(client.resolve({ repository: 'default/hello', tag: 'v1' })).rejects.toMatchObject({
        code: 'image-not-found',
      })
      await client.close()
      await expect.poll(() => registry.log.join('\n'), PATIENT).toContain('/v2/default/hello/manifests/v1')
      expect(secretsFound({ dataDirectory: join(home, 'data'), said: registry.log })).toEqual([])
    } finally {
      await registry.stop()
      realm.close().closeAllConnections()
      rmSync(home, { recursive: true, force: true })
    }
  })
})
