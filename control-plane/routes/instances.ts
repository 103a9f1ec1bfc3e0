import { AppError } from '../../common/index.ts'
import { requireFunction } from '../deploy.ts'
import type { Handlers } from '../handlers.ts'
import type { RouteDependencies } from './dependencies.ts'

type Names = 'listInstances' | 'stopInstances' | 'stopInstance'

export function instanceRoutes({ store, runtime, logger }: RouteDependencies): Pick<Handlers, Names> {
  return {
    listInstances: ({ params: { namespace, name } }) => {
      const version = requireFunction(store, namespace, name)
      const provisioned = version.settings.provisioned > 0 ? { provisioned: runtime.provisioned(version) } : {}
      return { instances: runtime.instances(namespace, name), ...provisioned }
    },
    stopInstances: async ({ params: { namespace, name }, requestId }) => {
      requireFunction(store, namespace, name)
      const stopped = await runtime.stopInstances(namespace, name)
      logger.info({ namespace, name, stopped, requestId }, 'instances stopped by request')
      return { stopped }
    },
    stopInstance: async ({ params: { namespace, name, id }, requestId }) => {
      requireFunction(store, namespace, name)
      const stopped = await runtime.stopInstances(namespace, name, id)
      if (stopped === 0) {
        throw new AppError(`function ${namespace}/${name} has no instance ${id}`, {
          code: 'instance-not-found',
          fault: 'user',
          hint: `see those there are: slipway instances list ${name}`,
        })
      }
      logger.info({ namespace, name, instance: id, requestId }, 'instance stopped by request')
      return { stopped }
    },
  }
}
