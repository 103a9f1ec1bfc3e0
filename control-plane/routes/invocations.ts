import { AppError } from '../../common/index.ts'
import { requireFunction } from '../deploy.ts'
import type { Handlers } from '../handlers.ts'
import type { RouteDependencies } from './dependencies.ts'

type Names = 'listInvocations' | 'getInvocation' | 'logs'
const DEFAULT_LIMIT = 100

export function invocationRoutes({ store, logReader }: RouteDependencies): Pick<Handlers, Names> {
  return {
    listInvocations: async ({ params: { namespace, name }, query: { sinceMs, limit = DEFAULT_LIMIT } }) => {
      requireFunction(store, namespace, name)
      const since = sinceMs === undefined ? {} : { sinceMs }
      return { invocations: await store.listRecords({ namespace, function: name, limit, ...since }) }
    },
    getInvocation: async ({ params: { requestId } }) => {
      const record = await store.getRecord(requestId)
      if (record !== undefined) return record
      throw new AppError(`no record of the call ${requestId} is kept`, { code: 'invocation-not-found', fault: 'user' })
    },
    logs: ({ params: { namespace, name }, query: { sinceMs, requestId, follow = false }, signal }) => {
      requireFunction(store, namespace, name)
      return logReader.read({
        namespace,
        function: name,
        follow,
        signal,
        ...(sinceMs === undefined ? {} : { sinceMs }),
        ...(requestId === undefined ? {} : { requestId }),
      })
    },
  }
}
