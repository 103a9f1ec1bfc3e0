import type { Handlers } from '../handlers.ts'
import type { RouteDependencies } from './dependencies.ts'

export function platformRoutes(dependencies: RouteDependencies): Pick<Handlers, 'health' | 'status'> {
  const { runtime, platformStatus, platformVersion: version } = dependencies
  return {
    health: () => ({ status: 'ok', version }),
    status: async () => ({ version, ...(await platformStatus()), instances: runtime.counts() }),
  }
}
