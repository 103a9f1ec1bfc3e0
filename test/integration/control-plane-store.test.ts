import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { fileURLToPath } from 'node:url'
import { afterEach, beforeEach, describe, expect, onTestFinished, test } from 'vitest'
import { DEFAULT_NAMESPACE_SETTINGS, type FunctionView, type InvocationRecord } from '../../api/index.ts'
import { createLogger } from '../../common/index.ts'
import { openSqliteStore, type SqliteStoreOptions, type Store } from '../../control-plane/index.ts'
import { digest, TOKEN } from '../helpers/control-plane.ts'

let directory: string
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'slipway-store-'))
})
afterEach(() => rm(directory, { recursive: true }))

async function open(over: Partial<SqliteStoreOptions> = {}): Promise<Store> {
  const logger = createLogger('test', { write: () => undefined })
  const store = await openSqliteStore({ path: join(directory, 'slipway.db'), logger, ...over })
  onTestFinished(() => store.close())
  return store
}

const draft = (name: string, text = name) => ({
  namespace: 'default',
  function: name,
  image: {
    registry: '127.0.0.1:5000',
    repository: `default/${name}`,
    digest: digest(text),
    platformDigest: digest(`${text} amd64`),
    sizeBytes: 1,
  },
  settings: {
    type: 'event' as const,
    env: {},
    memory: 128,
    timeout: 3,
    initTimeout: 90,
    concurrency: 1,
    provisioned: 0,
    prewarm: 0,
    keepAlive: 300,
  },
})

const record = (n: number, over: Partial<InvocationRecord> = {}): InvocationRecord => ({
  requestId: `00000000-0000-4000-8000-${String(n).padStart(12, '0')}`,
  callerRequestId: null,
  namespace: 'default',
  function: 'hello',
  version: '$LATEST',
  kind: 'event',
  instance: 'abc',
  startedAtMs: n,
  durationMs: 1.25,
  statusCode: 200,
  errorMessage: null,
  memoryBytes: 5,
  memoryLimitMb: 128,
  coldStart: { totalMs: 3, phases: { create: 1, listen: 2 } },
  ...over,
})

describe('the store', () => {
  test('has written a record within a fraction of a second, without being asked', async () => {
    const store = await open()
    store.record(record(1))
    const database = new DatabaseSync(join(directory, 'slipway.db'), { readOnly: true })
    onTestFinished(() => database.close())
    const count = () => database.prepare('SELECT count(*) AS n FROM records').get()?.['n']
    expect(count()).toBe(0)
    await expect.poll(count, { interval: 10, timeout: 1_000 }).toBe(1)
  })

  test('holds everything again after it was closed', async () => {
    const first = await open()
    const version = await first.putFunction(draft('hello'))
    await first.putNamespace({ name: 'team', ...DEFAULT_NAMESPACE_SETTINGS, maxEnvBytes: 1, createdAtMs: 7 })
    await first.documents.put('things', 'a', { b: 1 })
    first.record(record(1))
    await first.close()
    const second = await open()
    expect(second.snapshot.function('default', 'hello')).toEqual(version)
    expect(second.snapshot.namespaces().map(({ name }) => name)).toEqual(['default', 'team'])
    expect(second.documents.list('things')).toEqual([{ key: 'a', document: { b: 1 } }])
    expect(await second.getRecord(record(1).requestId)).toEqual(record(1))
  })

  test('shows a change in its snapshot only once it is durable, and not at all when it is refused', async () => {
    const store = await open()
    const writing = store.putFunction(draft('hello'))
    expect(store.snapshot.function('default', 'hello')).toBeUndefined()
    await writing
    expect(store.snapshot.function('default', 'hello')?.revision).toBe(1)
    await expect(store.putFunction(draft('hello', 'other'), 7)).rejects.toMatchObject({ code: 'revision-conflict' })
    expect(store.snapshot.function('default', 'hello')?.image.digest).toBe(digest('hello'))
  })

  test('commits what arrives together, each refusal for itself', async () => {
    const store = await open()
    const writes = [
      store.putFunction(draft('a')),
      store.putFunction({ ...draft('b'), namespace: 'absent' }),
      store.putFunction(draft('c'), 0),
      store.deleteFunction('default', 'absent'),
      store.putFunction(draft('a', 'newer')),
    ]
    const results = await Promise.allSettled(writes)
    expect(
      results.map((result) => (result.status === 'fulfilled' ? result.value.revision : result.reason.code)),
    ).toEqual([1, 'namespace-not-found', 1, 'function-not-found', 2])
  })

  test('lists records newest first, of the time that is asked for', async () => {
    const store = await open()
    for (const n of [3, 1, 2]) store.record(record(n))
    store.record(record(4, { function: 'other', coldStart: null, errorMessage: 'x'.repeat(10_000) }))
    const query = { namespace: 'default', function: 'hello', limit: 10 }
    const ids = async (over: object) =>
      (await store.listRecords({ ...query, ...over })).map(({ startedAtMs }) => startedAtMs)
    expect(await ids({})).toEqual([3, 2, 1])
    expect(await ids({ sinceMs: 2 })).toEqual([3, 2])
    expect(await ids({ untilMs: 2, limit: 1 })).toEqual([2])
    expect((await store.getRecord(record(4).requestId))?.errorMessage).toHaveLength(4096)
  })

  test('prunes records by age and by number', async () => {
    const retention = { maxAgeMs: 3_600_000, maxRecords: 10 }
    const store = await open({ retention, pruneEveryMs: 20 })
    const now = Date.now()
    for (let n = 0; n < 30; n += 1) store.record(record(n, { startedAtMs: n === 29 ? now - 3_700_000 : now - n }))
    const query = { namespace: 'default', function: 'hello', limit: 100 }
    await expect.poll(async () => (await store.listRecords(query)).length, { timeout: 5_000 }).toBe(9)
  })

  test('refuses a database of a newer platform, and says so', async () => {
    await (await open()).close()
    const database = new DatabaseSync(join(directory, 'slipway.db'))
    database.exec('PRAGMA user_version = 99')
    database.close()
    await expect(open()).rejects.toMatchObject({ code: 'store-newer' })
  })

  test('says why it cannot be opened, and refuses writes once it is closed', async () => {
    await expect(open({ path: join(directory, 'absent', 'slipway.db') })).rejects.toMatchObject({
      code: 'store-failed',
    })
    const store = await open()
    await store.close()
    await expect(store.putFunction(draft('late'))).rejects.toMatchObject({ code: 'store-closed' })
    expect(() => store.record(record(1))).not.toThrow()
  })
})

const CHILD = fileURLToPath(new URL('../helpers/control-plane-child.ts', import.meta.url))

async function startChild(): Promise<{ child: ChildProcess; port: number }> {
  const child = spawn(process.execPath, [CHILD, directory], { stdio: ['ignore', 'pipe', 'inherit'] })
  onTestFinished(() => void child.kill('SIGKILL'))
  const [line] = (await once(child.stdout as NodeJS.ReadableStream, 'data')) as [Buffer]
  return { child, port: Number(line.toString()) }
}

/** Deploys to four functions until the server is gone; keeps the last answer for each. `onAnswer` is told how many there were. */
async function deployUntilGone(
  port: number,
  round: number,
  acknowledged: Map<string, FunctionView>,
  onAnswer: (count: number) => void,
): Promise<void> {
  let answers = 0
  const deployer = async (name: string): Promise<void> => {
    for (let n = 0; ; n += 1) {
      const response = await fetch(`http://127.0.0.1:${port}/v1/namespaces/default/functions/${name}`, {
        method: 'PUT',
        headers: { authorization: `Bearer ${TOKEN}`, 'content-type': 'application/json' },
        body: JSON.stringify({
          image: `default/${name}@${digest(`${round} ${n}`)}`,
          settings: { env: { N: `${round} ${n}` } },
        }),
      })
      const view = (await response.json()) as FunctionView
      if (response.status !== 200) throw new Error(JSON.stringify(view))
      acknowledged.set(name, view)
      answers += 1
      onAnswer(answers)
    }
  }
  const ends = await Promise.allSettled(['a', 'b', 'c', 'd'].map(deployer))
  for (const end of ends)
    expect(String((end as PromiseRejectedResult).reason)).toMatch(/fetch failed|terminated|aborted/)
}

test('killed with SIGKILL while deploying, five times: everything acknowledged is there, and nothing is half there', async () => {
  const acknowledged = new Map<string, FunctionView>()
  for (let round = 0; round < 5; round += 1) {
    const { child, port } = await startChild()
    // Each round ends after another number of answers, in the middle of the deploys behind them.
    await deployUntilGone(port, round, acknowledged, (count) => {
      if (count === 20 + 37 * round) setTimeout(() => child.kill('SIGKILL'), round)
    })
    const store = await open()
    expect(acknowledged.size).toBe(4)
    for (const [name, view] of acknowledged) {
      const version = store.snapshot.function('default', name)
      expect(version?.revision).toBeGreaterThanOrEqual(view.revision)
      // At most the one deploy in flight is ahead of what was acknowledged.
      expect(version?.revision).toBeLessThanOrEqual(view.revision + 1)
      expect(version?.image.digest).toBe(digest(version?.settings.env['N'] ?? ''))
    }
    await store.close()
  }
}, 60_000)
