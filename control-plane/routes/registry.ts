import { Readable } from 'node:stream'
import { BASE_REPOSITORIES } from '../../api/index.ts'
import { requireNamespace } from '../deploy.ts'
import type { Handlers } from '../handlers.ts'
import type { RouteDependencies } from './dependencies.ts'

type Names =
  | 'createRegistryCredential'
  | 'createBaseCredential'
  | 'listRegistryUsers'
  | 'addRegistryUser'
  | 'setRegistryUserRights'
  | 'revokeRegistryUser'
  | 'listRegistryImages'
  | 'collectRegistry'
  | 'rotateRegistryKeys'

export function registryRoutes({ store, registry, logger }: RouteDependencies): Pick<Handlers, Names> {
  const { host, users } = registry
  return {
    createRegistryCredential: ({ params: { namespace } }) => {
      requireNamespace(store, namespace)
      return { registry: host, repositories: `${namespace}/*`, ...registry.issuePush(namespace) }
    },
    createBaseCredential: () => ({
      registry: host,
      repositories: `${BASE_REPOSITORIES}/*`,
      ...registry.issuePush(BASE_REPOSITORIES),
    }),
    listRegistryUsers: () => ({ users: users.list() }),
    addRegistryUser: async ({ body: { username, allow }, requestId }) => {
      const password = await users.add(username, allow)
      logger.info({ username, allow, requestId }, 'registry user added')
      return { username, password }
    },
    setRegistryUserRights: async ({ params: { username }, body: { allow }, requestId }) => {
      await users.setRights(username, allow)
      logger.info({ username, allow, requestId }, 'registry user changed')
      return { username, allow: [...allow] }
    },
    revokeRegistryUser: async ({ params: { username }, requestId }) => {
      await users.revoke(username)
      logger.info({ username, requestId }, 'registry user revoked')
      return { username }
    },
    listRegistryImages: async ({ query: { repository } }) => Readable.from(await registry.images(repository)),
    collectRegistry: ({ body }) => registry.collect(body),
    rotateRegistryKeys: ({ identity, requestId }) => {
      const rotated = registry.rotateKeys()
      logger.info({ ...rotated, by: identity.name, requestId }, 'signing key of the registry rotated')
      return rotated
    },
  }
}
