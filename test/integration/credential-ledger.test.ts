import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { createLogger } from '../../common/index.ts'
import { openSqliteStore, type Retention, type Store } from '../../control-plane/index.ts'
import { PullCredentialIssuer } from '../../control-plane/pull-credentials.ts'
import { type Credential, TemporaryCredentials } from '../../registry-auth/index.ts'

const LOCAL = '127.0.0.1:5000'
const version = {
  namespace: 'default',
  function: 'f',
  version: '$LATEST',
  revision: 3,
  image: { registry: LOCAL, repository: 'default/f', digest: 'd', platformDigest: 'd', sizeBytes: 1 },
} as unknown as Parameters<PullCredentialIssuer['issue']>[0]
const signal = AbortSignal.timeout(60_000)

describe('the ledger of pull credentials', () => {
  let directory: string
  const open: Store[] = []
  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), 'slipway-ledger-'))
  })
  afterEach(async () => {
    for (const store of open.splice(0)) await store.close()
    rmSync(directory, { recursive: true, force: true })
  })

  /** A server on the same data. */
  const serve = async (options: { retention?: Retention; pruneEveryMs?: number } = {}) => {
    const logger = createLogger('test')
    logger.level = 'silent'
    const store = await openSqliteStore({ path: join(directory, 'slipway.db'), logger, ...options })
    open.push(store)
    const temporary = new TemporaryCredentials({ onUse: (id) => issuer.used(id) })
    const issuer: PullCredentialIssuer = new PullCredentialIssuer({
      ledger: store.credentials,
      temporary,
      localRegistry: LOCAL,
      others: { for: async () => ({ kind: 'anonymous', source: 'docker-config /x' }) },
      requireRight: () => undefined,
    })
    return { store, temporary, issuer }
  }
  const passwordOf = (credential: Credential): string => (credential.kind === 'basic' ? credential.password : '')

  it('lets the next server know a credential until its deadline, and no longer', async () => {
    const first = await serve()
    const lasting = await first.issuer.issue(version, Date.now() + 60_000, signal)
    const brief = await first.issuer.issue(version, Date.now() + 150, signal)
    first.temporary.check(lasting.id, passwordOf(lasting.credential))
    lasting.joined(version)('000000000000000a')
    // Killed: nothing is closed, the next one opens what is on disk.
    await expect.poll(() => first.issuer.isInForce(brief.id)).toBe(false)
    const second = await serve()
    expect(second.issuer.idsInForce()).toEqual([lasting.id])
    expect(second.temporary.check(lasting.id, passwordOf(lasting.credential))).toMatchObject({
      subject: lasting.id,
      grants: [{ repository: 'default/f', actions: ['pull'] }],
    })
    expect(second.temporary.check(brief.id, passwordOf(brief.credential))).toBeUndefined()
    expect(await second.store.credentials.get(lasting.id)).toMatchObject({
      bearers: 2,
      firstUsedAtMs: expect.any(Number),
      endedAtMs: null,
      starts: [{ function: 'f', version: '$LATEST@3', instance: '000000000000000a', requestIds: [] }],
    })
    expect(await second.store.credentials.get(brief.id)).toMatchObject({ endReason: 'deadline', bearers: 0 })
    expect(second.issuer.end(lasting.id, 'over')).toBe(true)
    const third = await serve()
    expect(third.issuer.idsInForce()).toEqual([])
  })

  it('ends at the start of a server what passed its deadline while none ran', async () => {
    const first = await serve()
    const deadlineMs = Date.now() + 60_000
    await first.store.credentials.add({
      id: 'temporary-000000000000000000',
      namespace: 'default',
      registry: LOCAL,
      repository: 'default/f',
      provider: 'local',
      madeAtMs: 1,
      deadlineMs: 2,
      secretHash: 'a'.repeat(64),
    })
    const lasting = await first.issuer.issue(version, deadlineMs, signal)
    const second = await serve()
    expect(second.issuer.idsInForce()).toEqual([lasting.id])
    expect(await second.store.credentials.get('temporary-000000000000000000')).toMatchObject({
      endedAtMs: 2,
      endReason: 'deadline',
    })
  })

  it('keeps no secret', async () => {
    const { issuer, store } = await serve()
    const issued = await issuer.issue(version, Date.now() + 60_000, signal)
    await store.credentials.list({ limit: 1 })
    for (const name of readdirSync(directory)) {
      expect(readFileSync(join(directory, name)).includes(passwordOf(issued.credential))).toBe(false)
    }
  })

  it('names the provider of a credential for another registry, which no deadline of ours can end', async () => {
    const { issuer, store } = await serve()
    const foreign = { ...version, image: { ...version.image, registry: 'ghcr.io' } }
    const issued = await issuer.issue(foreign, Date.now() + 60_000, signal)
    issued.end('pull-failed')
    expect(await store.credentials.get(issued.id)).toMatchObject({
      registry: 'ghcr.io',
      provider: 'docker-config /x',
      endReason: 'download failed: pull-failed',
    })
  })

  it('lists the newest first, by age and namespace, and forgets what is too old but never what is in force', async () => {
    const { issuer, store } = await serve({ retention: { maxAgeMs: 0, maxRecords: 10 }, pruneEveryMs: 50 })
    const kept = await issuer.issue(version, Date.now() + 60_000, signal)
    const over = await issuer.issue({ ...version, namespace: 'team' }, Date.now() + 60_000, signal)
    over.joined(version)
    const ids = async (query = {}) => (await store.credentials.list({ limit: 10, ...query })).map(({ id }) => id)
    expect(await ids()).toEqual([over.id, kept.id])
    expect(await ids({ namespace: 'team' })).toEqual([over.id])
    expect(await ids({ sinceMs: Date.now() + 1 })).toEqual([])
    over.end()
    await expect.poll(ids).toEqual([kept.id])
  })
})
