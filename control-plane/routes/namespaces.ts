import { DEFAULT_NAMESPACE_SETTINGS } from '../../api/index.ts'
import { requireNamespace } from '../deploy.ts'
import type { Handlers } from '../handlers.ts'
import type { RouteDependencies } from './dependencies.ts'

type Names = 'listNamespaces' | 'getNamespace' | 'putNamespace' | 'deleteNamespace'

export function namespaceRoutes({ store, logger }: RouteDependencies): Pick<Handlers, Names> {
  return {
    listNamespaces: () => ({ namespaces: store.snapshot.namespaces() }),
    getNamespace: ({ params }) => requireNamespace(store, params.namespace),
    putNamespace: async ({ params: { namespace: name }, body, requestId }) => {
      const present = store.snapshot.namespace(name) ?? {
        name,
        ...DEFAULT_NAMESPACE_SETTINGS,
        createdAtMs: Date.now(),
      }
      const written = await store.putNamespace({ ...present, ...body })
      logger.info({ namespace: name, requestId }, 'namespace written')
      return written
    },
    deleteNamespace: async ({ params: { namespace: name }, requestId }) => {
      const deleted = await store.deleteNamespace(name)
      logger.info({ namespace: name, requestId }, 'namespace deleted')
      return deleted
    },
  }
}
