import type { IncomingMessage, Server, ServerResponse } from 'node:http'
import type { Duplex } from 'node:stream'
import { AccessControl } from './access.ts'
import { buildApp } from './app.ts'
import { Gateway } from './gateway/gateway.ts'
import type { UpgradingRuntime } from './gateway/web-call.ts'
import type { RouteDependencies } from './routes/dependencies.ts'
import { functionRoutes } from './routes/functions.ts'
import { instanceRoutes } from './routes/instances.ts'
import { invocationRoutes } from './routes/invocations.ts'
import { namespaceRoutes } from './routes/namespaces.ts'
import { platformRoutes } from './routes/platform.ts'
import { pullCredentialRoutes } from './routes/pull-credentials.ts'
import { registryEntryRoutes } from './routes/registries.ts'
import { registryRoutes } from './routes/registry.ts'

export interface ControlPlaneOptions extends Omit<RouteDependencies, 'address' | 'runtime'> {
  runtime: UpgradingRuntime
  /** In hex: the server is not given the token. */
  adminTokenSha256: string
  /** Where the platform is reached, without a slash at the end. */
  publicUrl: string
  /** Names that API and console answer to, beside 127.0.0.1, localhost and [::1]. */
  hostNames?: readonly string[]
  /** Web functions are at NAME.NAMESPACE.SUFFIX. Default `localhost`. */
  webSuffix?: string
  /** Bytes of bodies held at once. Default 256 MB. */
  bodyBudgetBytes?: number
}

export interface ControlPlane {
  /** For `request` and `checkContinue` of an HTTP server made with HTTP_SERVER_OPTIONS. */
  listener(request: IncomingMessage, response: ServerResponse): void
  upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void
  /** A server with every listener set, ready for `listen({ fd })`. */
  createServer(): Server
  close(): Promise<void>
}

const LOOPBACK_NAMES = ['127.0.0.1', 'localhost', '[::1]']

/** Puts gateway, API and access together. The store stays the caller's to close, after this. */
export async function createControlPlane(options: ControlPlaneOptions): Promise<ControlPlane> {
  const { store, runtime, logger, registry, publicUrl, webSuffix = 'localhost' } = options
  const access = new AccessControl(options.adminTokenSha256)
  const dependencies: RouteDependencies = { ...options, address: { url: publicUrl, webSuffix } }
  const handlers = {
    ...platformRoutes(dependencies),
    ...namespaceRoutes(dependencies),
    ...functionRoutes(dependencies),
    ...invocationRoutes(dependencies),
    ...instanceRoutes(dependencies),
    ...registryRoutes(dependencies),
    ...registryEntryRoutes(dependencies),
    ...pullCredentialRoutes(dependencies),
  }
  const app = await buildApp({ handlers, access, logger })
  const names = [...LOOPBACK_NAMES, new URL(publicUrl).hostname, ...(options.hostNames ?? [])]
  const gateway = new Gateway({
    runtime,
    snapshot: store.snapshot,
    access,
    record: (record) => store.record(record),
    served: { api: new Set(names.map((name) => name.toLowerCase())), webSuffixes: [webSuffix] },
    api: (request, response) => app.routing(request, response),
    registryToken: (request, response) => registry.token(request, response),
    bodyBudgetBytes: options.bodyBudgetBytes ?? 256 * 1024 * 1024,
    logger,
  })
  for (const version of store.snapshot.allFunctions()) runtime.versionChanged(version)
  return {
    listener: (request, response) => gateway.listener(request, response),
    upgrade: (request, socket, head) => gateway.upgrade(request, socket, head),
    createServer: () => gateway.createServer(),
    close: () => app.close(),
  }
}
