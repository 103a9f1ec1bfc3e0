import { readFileSync } from 'node:fs'
import type { Server } from 'node:http'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { BASE_REPOSITORIES, DEFAULT_STARTS_PER_MINUTE, httpStatusOf } from '../api/index.ts'
import { createLogger, messageOf } from '../common/index.ts'
import {
  firstOf,
  LOCAL_REGISTRY_NAMES,
  SigningKeys,
  TemporaryCredentials,
  TokenServer,
  tokenHandler,
  WriteGate,
} from '../registry-auth/index.ts'
import { connectHost, FunctionRuntime, GATEWAY_FD, Output } from '../runtime-shim/index.ts'
import { createControlPlane } from './control-plane.ts'
import { registryImageResolver } from './image-resolver.ts'
import { lookCredentials, PullCredentialIssuer } from './pull-credentials.ts'
import { PullDownloads } from './pull-downloads.ts'
import { type ImagePlace, requirePull } from './pull-rights.ts'
import { foreignCredentials, storedRegistries, testCredentials } from './registries.ts'
import { LocalRegistry } from './registry/local-registry.ts'
import { tokenAudit } from './registry/token-audit.ts'
import { storedRegistryUsers } from './registry-users.ts'
import { openSqliteStore } from './store/sqlite.ts'
import { storedJobs } from './stored-jobs.ts'

const PUSH_CREDENTIAL_MS = 30 * 60_000
const DRAIN_MS = 2_000
const FLUSH_MS = 1_500

/** The server process: wiring only. It reads strangers' bytes, so it has no power, and it may be killed at any moment. */
export async function serve(): Promise<void> {
  const view = process.env['SLIPWAY_VIEW'] ?? ''
  const logger = createLogger('server')
  const { version: platformVersion } = JSON.parse(
    readFileSync(join(import.meta.dirname, '../package.json'), 'utf8'),
  ) as {
    version: string
  }

  const { client: host, hello } = await connectHost({
    socketPath: join(view, 'run/host.sock'),
    fdSocketPath: join(view, 'run/host-fd.sock'),
    generation: Number(process.env['SLIPWAY_GENERATION']),
    logger,
  })
  const { server: config } = hello
  const directory = join(config.dataRoot, 'server')
  const store = await openSqliteStore({ path: join(directory, 'slipway.db'), logger })

  const temporary = new TemporaryCredentials({ onUse: (id) => pullCredentials.used(id) })
  const registries = storedRegistries(store.documents, directory, logger)
  const foreign = foreignCredentials(registries, host)
  const requireRight = (namespace: string, image: ImagePlace): void =>
    requirePull(namespace, store.snapshot.namespace(namespace), image, config.registryHost)
  const pullCredentials = new PullCredentialIssuer({
    ledger: store.credentials,
    temporary,
    localRegistry: config.registryHost,
    others: foreign,
    requireRight: ({ namespace, image }) => requireRight(namespace, image),
  })
  const pulls = new PullDownloads(host, pullCredentials, logger)
  await pulls.reconcile()
  const registryUsers = storedRegistryUsers(store.documents)
  const keys = SigningKeys.open(join(directory, 'keys'))
  const gate = new WriteGate()
  const tokens = new TokenServer({
    ...LOCAL_REGISTRY_NAMES,
    keys,
    authenticator: firstOf(temporary, registryUsers),
    refreshTokens: registryUsers,
    anonymous: () => registryUsers.anonymous(),
    gate,
    audit: tokenAudit(logger),
  })

  const output = new Output({
    directory: join(directory, 'output'),
    records: {
      list: (query) => store.listRecords(query),
      get: (requestId) => store.getRecord(requestId),
    },
    logger,
  })
  const jobs = storedJobs(store)
  const runtime = new FunctionRuntime({
    host,
    leaseFile: config.leaseFile,
    credentials: pullCredentials,
    identity: config.identity,
    output,
    sink: (record) => {
      store.record(record)
      output.recorded(record)
    },
    onJobRecord: (record) => output.recorded(record),
    jobs,
    statusOf: (number) => httpStatusOf(number) ?? 500,
    find: (namespace, name) => store.snapshot.function(namespace, name),
    startsPerMinute: (namespace) => store.snapshot.namespace(namespace)?.startsPerMinute ?? DEFAULT_STARTS_PER_MINUTE,
    logger,
  })
  await runtime.reconcile()

  const localRegistry = new LocalRegistry({
    host,
    registry: config.registryHost,
    temporary,
    gate,
    documents: store.documents,
    versionsInUse: () => [
      ...store.snapshot.allFunctions(),
      ...runtime.versionsInUse(),
      ...jobs.list().map(({ version }) => version),
    ],
    logger,
  })
  localRegistry.collection.recover().catch((err: unknown) => logger.error({ err }, 'registry stays read-only'))

  const controlPlane = await createControlPlane({
    store,
    runtime,
    resolver: registryImageResolver({
      credentials: lookCredentials(temporary, config.registryHost, foreign),
      requireRight,
    }),
    logReader: output,
    registries,
    testCredential: testCredentials(temporary, config.registryHost, foreign),
    registry: {
      host: config.registryHost,
      token: tokenHandler(tokens),
      issuePush: (namespace) => {
        const expiresAtMs = Date.now() + PUSH_CREDENTIAL_MS
        const own = { repository: `${namespace}/*`, actions: ['pull', 'push'] } as const
        // Layers of base images are mounted from there. What runs is given `pull` on its own repository alone.
        const bases = { repository: `${BASE_REPOSITORIES}/*`, actions: ['pull'] } as const
        const { username, password } = temporary.issue([own, bases], expiresAtMs)
        return { username, password, expiresAtMs }
      },
      users: registryUsers,
      images: (repository) => localRegistry.images(repository),
      collect: (options) => localRegistry.collection.start(options),
      sharing: (work) => localRegistry.collection.sharing(work),
      rotateKeys: () => {
        const rotatedAtMs = Date.now()
        return { rotatedAtMs, notAfterMs: keys.rotate(rotatedAtMs).notAfterMs }
      },
    },
    pulls,
    platformStatus: async () => {
      const { processes } = await host.call('processes', {}, AbortSignal.timeout(2_000))
      return { ready: true, engine: hello.engine, processes }
    },
    platformVersion,
    adminTokenSha256: config.adminTokenSha256,
    publicUrl: `http://${config.address}:${config.port}`,
    logger,
  })

  const server: Server = controlPlane.createServer()
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen({ fd: GATEWAY_FD }, resolve)
  })
  await host.call('ready', { registryCaPem: keys.caCertificatePem })
  logger.info({ generation: config.generation }, 'server answers calls')

  let ending = false
  async function end(): Promise<void> {
    if (ending) return
    ending = true
    server.close()
    server.closeIdleConnections()
    // Calls that go on are broken off by the end of the process; what was recorded until then is written down first.
    const late = setTimeout(() => process.exit(0), DRAIN_MS + FLUSH_MS)
    try {
      await Promise.race([controlPlane.close(), sleep(DRAIN_MS)])
      runtime.close()
      await output.close()
      await store.close()
      host.close()
    } catch (thrown) {
      logger.error({ err: messageOf(thrown) }, 'server did not end cleanly')
    }
    clearTimeout(late)
    process.exit(0)
  }
  host.on('shutdown', () => void end())
  process.on('SIGTERM', () => void end())
}
