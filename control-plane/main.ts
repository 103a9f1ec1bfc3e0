import { readFileSync } from 'node:fs'
import type { Server } from 'node:http'
import { flushCompileCache } from 'node:module'
import { join } from 'node:path'
import { httpStatusOf } from '../api/index.ts'
import { createLogger, messageOf } from '../common/index.ts'
import {
  firstOf,
  LOCAL_REGISTRY_NAMES,
  SigningKeys,
  TemporaryCredentials,
  TokenServer,
  tokenHandler,
} from '../registry-auth/index.ts'
import { connectHost, FunctionRuntime, GATEWAY_FD, Output } from '../runtime-shim/index.ts'
import { createControlPlane } from './control-plane.ts'
import { registryImageResolver } from './image-resolver.ts'
import { lookCredentials, pullCredentials } from './pull-credentials.ts'
import { storedRegistryUsers } from './registry-users.ts'
import { openSqliteStore } from './store/sqlite.ts'

// The server process: wiring only. It reads strangers' bytes, so it has no power, and it may be killed at any moment.

const PUSH_CREDENTIAL_MS = 30 * 60_000
const DRAIN_MS = 2_000

const view = process.env['SLIPWAY_VIEW'] ?? ''
const logger = createLogger('server')
const { version: platformVersion } = JSON.parse(readFileSync(join(import.meta.dirname, '../package.json'), 'utf8')) as {
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

const temporary = new TemporaryCredentials()
const registryUsers = storedRegistryUsers(store.documents)
const keys = SigningKeys.open(join(directory, 'keys'))
const tokens = new TokenServer({
  ...LOCAL_REGISTRY_NAMES,
  keys,
  authenticator: firstOf(temporary, registryUsers),
  refreshTokens: registryUsers,
})

const output = new Output({
  directory: join(directory, 'output'),
  records: {
    list: (query) => store.listRecords(query),
    get: (requestId) => store.getRecord(requestId),
  },
  logger,
})
const runtime = new FunctionRuntime({
  host,
  leaseFile: config.leaseFile,
  credentials: pullCredentials(temporary, config.registryHost),
  identity: config.identity,
  output,
  sink: (record) => {
    store.record(record)
    output.recorded(record)
  },
  statusOf: (number) => httpStatusOf(number) ?? 500,
  find: (namespace, name) => store.snapshot.function(namespace, name),
  logger,
})
await runtime.reconcile()

const controlPlane = await createControlPlane({
  store,
  runtime,
  resolver: registryImageResolver({
    credentials: lookCredentials(temporary, config.registryHost),
    mayPull: (namespace, registry, repository) =>
      registry !== config.registryHost || repository.startsWith(`${namespace}/`),
  }),
  logReader: output,
  registry: {
    host: config.registryHost,
    token: tokenHandler(tokens),
    issuePush: (namespace) => {
      const expiresAtMs = Date.now() + PUSH_CREDENTIAL_MS
      const grant = { repository: `${namespace}/*`, actions: ['pull', 'push'] } as const
      const { username, password } = temporary.issue([grant], expiresAtMs)
      return { username, password, expiresAtMs }
    },
    users: registryUsers,
  },
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
// A server that is killed would never write it.
flushCompileCache()
await host.call('ready', { registryCaPem: keys.caCertificatePem })
logger.info({ generation: config.generation }, 'server answers calls')

let ending = false
async function end(): Promise<void> {
  if (ending) return
  ending = true
  server.close()
  server.closeIdleConnections()
  const late = setTimeout(() => process.exit(0), DRAIN_MS)
  try {
    await controlPlane.close()
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
