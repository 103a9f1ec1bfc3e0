import type { Version } from '../../api/index.ts'
import { type DeployDependencies, deploy, requireFunction, requireNamespace } from '../deploy.ts'
import { viewFunction } from '../function-view.ts'
import type { Handlers } from '../handlers.ts'
import type { RouteDependencies } from './dependencies.ts'

type Names = 'listFunctions' | 'getFunction' | 'deploy' | 'deleteFunction'

export function functionRoutes(dependencies: RouteDependencies): Pick<Handlers, Names> {
  const { store, runtime, resolver, registry, address, logger } = dependencies
  const deploying: DeployDependencies = { store, resolver, registry: registry.host }
  const view = (version: Version) => viewFunction(version, address)
  return {
    listFunctions: ({ params: { namespace } }) => {
      requireNamespace(store, namespace)
      return { functions: store.snapshot.functions(namespace).map(view) }
    },
    getFunction: ({ params: { namespace, name } }) => {
      const version = requireFunction(store, namespace, name)
      const provisioned = version.settings.provisioned > 0 ? { provisioned: runtime.provisioned(version) } : {}
      return { ...view(version), ...provisioned }
    },
    deploy: async ({ params, body, signal, requestId, identity }) => {
      const version = await registry.sharing(() => deploy(deploying, { ...body, ...params }, signal))
      runtime.versionChanged(version)
      const { namespace, name } = params
      const { revision, image } = version
      logger.info(
        { namespace, name, revision, digest: image.digest, by: identity.name, requestId },
        'function deployed',
      )
      return view(version)
    },
    deleteFunction: async ({ params: { namespace, name }, requestId, identity }) => {
      const version = await store.deleteFunction(namespace, name)
      await runtime.functionDeleted(namespace, name)
      logger.info({ namespace, name, by: identity.name, requestId }, 'function deleted')
      return view(version)
    },
  }
}
