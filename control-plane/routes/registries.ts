import type { RegistryStep } from '../../api/index.ts'
import { parseReference } from '../../oci/index.ts'
import { lookAtRegistry } from '../../registry-auth/index.ts'
import type { Call, Handlers } from '../handlers.ts'
import type { RouteDependencies } from './dependencies.ts'

type Names = 'listRegistries' | 'putRegistry' | 'removeRegistry' | 'loginRegistry' | 'logoutRegistry' | 'testRegistry'

/** A registry that answers nothing ends a look by then. */
const LOOK_MS = 60_000

export function registryEntryRoutes(dependencies: RouteDependencies): Pick<Handlers, Names> {
  const { registries, logger } = dependencies
  return {
    listRegistries: () => ({ registries: registries.list() }),
    putRegistry: async ({ params: { host }, body, requestId }) => {
      const entry = await registries.set(host, body)
      logger.info({ registry: entry.host, provider: entry.provider, requestId }, 'registry entry written')
      return entry
    },
    removeRegistry: async ({ params: { host }, requestId }) => {
      const entry = await registries.remove(host)
      logger.info({ registry: entry.host, requestId }, 'registry entry removed')
      return entry
    },
    logoutRegistry: async ({ params: { host }, requestId }) => {
      const entry = await registries.logout(host)
      logger.info({ registry: entry.host, requestId }, 'registry login forgotten')
      return entry
    },
    loginRegistry: (call) => login(dependencies, parseReference(`${call.params.host}/x`, '').registry, call),
    testRegistry: ({ body: { reference, push = false }, signal }) =>
      test(dependencies, parseReference(reference, dependencies.registry.host), push, bounded(signal)),
  }
}

function bounded(signal: AbortSignal): AbortSignal {
  return AbortSignal.any([signal, AbortSignal.timeout(LOOK_MS)])
}

/** Tries the login first: what a registry does not take is not kept. */
async function* login(
  { registries, registry, logger }: RouteDependencies,
  host: string,
  { body: { username, password }, signal, requestId }: Call<'loginRegistry'>,
): AsyncGenerator<RegistryStep> {
  const reach = registries.reachOf(host)
  const credential = { kind: 'basic', username, password, source: 'this login', ...(reach && { reach }) } as const
  const look = { registry: host, credential: async () => credential, signal: bounded(signal) }
  const taken = yield* lookAtRegistry(look)
  if (!taken) return
  if (host === registry.host) {
    yield stored('nothing is kept: the platform makes its own credentials for its own registry')
    return
  }
  const entry = await registries.login(host, username, password)
  logger.info({ registry: entry.host, requestId }, 'registry login stored')
  yield stored(`kept for ${entry.host}, encrypted; pulls of the platform use it from now on`)
}

async function* test(
  { testCredential }: RouteDependencies,
  reference: ReturnType<typeof parseReference>,
  push: boolean,
  signal: AbortSignal,
): AsyncGenerator<RegistryStep> {
  const { registry, repository } = reference
  const credential = testCredential(registry, repository, push ? 'push' : 'pull', signal)
  try {
    yield* lookAtRegistry({ registry, credential: () => credential.find(), reference, push, signal })
  } finally {
    credential.end()
  }
}

function stored(detail: string): RegistryStep {
  return { step: 'store', ok: true, detail, durationMs: 0, exchanges: [] }
}
