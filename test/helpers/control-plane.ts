import { hash } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import type { Server } from 'node:http'
import { type AddressInfo, createServer as createNetServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { LogLine, RegistryUser, Version } from '../../api/index.ts'
import { AppError, createLogger } from '../../common/index.ts'
import {
  type ControlPlaneOptions,
  createControlPlane,
  type ImageResolver,
  type LogQuery,
  openSqliteStore,
  type Store,
} from '../../control-plane/index.ts'
import { storedRegistries } from '../../control-plane/registries.ts'
import type { Reference } from '../../oci/index.ts'
import { ScriptedRuntime } from './scripted-runtime.ts'

export const TOKEN = 'the-admin-token-of-a-test'

/** A digest that any text stands for. */
export const digest = (text: string): string => `sha256:${hash('sha256', text)}`

/** A double of a registry's answers: tags point where `tags` says. */
export class ScriptedResolver implements ImageResolver {
  readonly tags = new Map<string, string>([['latest', digest('latest')]])
  /** Awaited before each answer. */
  gate: Promise<void> = Promise.resolve()

  async resolve(reference: Reference): Promise<Version['image']> {
    await this.gate
    const { registry, repository, tag } = reference
    const pointed = reference.digest ?? this.tags.get(tag ?? 'latest')
    if (pointed === undefined) throw new AppError(`no tag ${tag}`, { code: 'image-not-found', fault: 'user' })
    const named = tag === undefined ? {} : { tag }
    return {
      registry,
      repository,
      ...named,
      digest: pointed,
      platformDigest: digest(`${pointed} amd64`),
      sizeBytes: 1000,
    }
  }
}

export interface RunningControlPlane {
  url: string
  port: number
  runtime: ScriptedRuntime
  resolver: ScriptedResolver
  store: Store
  logQueries: LogQuery[]
  server: Server
  /** The port of a test's process; with `path` from the root of the API. Sends the admin token unless told otherwise. */
  request(method: string, path: string, body?: unknown, headers?: Record<string, string>): Promise<Response>
  close(): Promise<void>
}

/** The real control plane (gateway, API, SQLite in a directory of its own) on a free port, with doubles of runtime and registry. */
export async function startControlPlane(directory?: string): Promise<RunningControlPlane> {
  const own = directory ?? (await mkdtemp(join(tmpdir(), 'slipway-cp-')))
  const logger = createLogger('test', { write: () => undefined })
  const store = await openSqliteStore({ path: join(own, 'slipway.db'), logger })
  const runtime = new ScriptedRuntime()
  const resolver = new ScriptedResolver()
  const logQueries: LogQuery[] = []
  const port = await freePort()
  const url = `http://127.0.0.1:${port}`
  const options: ControlPlaneOptions = {
    store,
    runtime,
    resolver,
    logger,
    logReader: { read: (query) => readLogs(query, logQueries) },
    registry: scriptedRegistry(),
    registries: storedRegistries(store.documents, own, logger),
    testCredential: () => ({ find: async () => ({ kind: 'anonymous' }), end: () => undefined }),
    pulls: { end: async () => false },
    platformStatus: () => ({ ready: true, engine: 'scripted', processes: [{ role: 'server', pid: process.pid }] }),
    platformVersion: '0.0.0-test',
    adminTokenSha256: hash('sha256', TOKEN),
    publicUrl: url,
    bodyBudgetBytes: 16 * 1024 * 1024,
  }
  const plane = await createControlPlane(options)
  const server = plane.createServer()
  await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve))
  return {
    url,
    port,
    runtime,
    resolver,
    store,
    logQueries,
    server,
    request: (method, path, body, headers = { authorization: `Bearer ${TOKEN}` }) =>
      fetch(`${url}${path}`, {
        method,
        headers: { ...headers, ...(body === undefined ? {} : { 'content-type': 'application/json' }) },
        ...(body === undefined ? {} : { body: typeof body === 'string' ? body : JSON.stringify(body) }),
      }),
    async close() {
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
      await plane.close()
      await store.close()
      if (directory === undefined) await rm(own, { recursive: true })
    },
  }
}

async function* readLogs(query: LogQuery, queries: LogQuery[]): AsyncGenerator<LogLine> {
  queries.push(query)
  const line = { time: '2026-01-01T00:00:00.000Z', stream: 'stdout', instance: 'a', requestId: null } as const
  yield { ...line, line: 'first' }
  if (!query.follow) return
  const { promise, resolve } = Promise.withResolvers<void>()
  query.signal.addEventListener('abort', () => resolve(), { once: true })
  await promise
}

function scriptedRegistry(): ControlPlaneOptions['registry'] {
  const users = new Map<string, RegistryUser>()
  return {
    host: '127.0.0.1:5000',
    token: (_request, response) => void response.end('{"token":"t"}'),
    issuePush: () => ({ username: 'push', password: 'secret', expiresAtMs: 1 }),
    images: () => Promise.resolve([]),
    collect: () => {
      throw new Error('no registry to collect')
    },
    sharing: (work) => work(),
    rotateKeys: () => ({ rotatedAtMs: 1, notAfterMs: 2 }),
    users: {
      list: () => [...users.values()],
      add: async (username, allow) => {
        if (users.has(username)) throw new AppError('exists', { code: 'user-exists', fault: 'user' })
        users.set(username, { username, allow: [...allow] })
        return 'shown-once'
      },
      setRights: async (username, allow) => void users.set(username, { username, allow: [...allow] }),
      revoke: async (username) => {
        if (!users.delete(username)) throw new AppError('no such user', { code: 'user-not-found', fault: 'user' })
      },
    },
  }
}

/** Free when asked; the window until it is listened on is as small as a test's start. */
export async function freePort(): Promise<number> {
  const server = createNetServer()
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  await new Promise((resolve) => server.close(resolve))
  return port
}
