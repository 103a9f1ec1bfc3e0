import { AppError } from '../../common/index.ts'
import { requireFunction } from '../deploy.ts'
import type { Handlers } from '../handlers.ts'
import type { RouteDependencies } from './dependencies.ts'

type Names = 'listInvocations' | 'getInvocation' | 'cancelInvocation' | 'logs'
const DEFAULT_LIMIT = 100

export function invocationRoutes({ store, runtime, logReader, logger }: RouteDependencies): Pick<Handlers, Names> {
  return {
    listInvocations: async ({ params: { namespace, name }, query: { sinceMs, limit = DEFAULT_LIMIT } }) => {
      requireFunction(store, namespace, name)
      const since = sinceMs === undefined ? {} : { sinceMs }
      const unfinished = runtime.unfinishedJobs(namespace, name).filter((job) => job.startedAtMs >= (sinceMs ?? 0))
      const records = await store.listRecords({ namespace, function: name, limit, ...since })
      const newestFirst = [...unfinished, ...records].sort((a, b) => b.startedAtMs - a.startedAtMs)
      return { invocations: newestFirst.slice(0, limit) }
    },
    getInvocation: async ({ params: { requestId } }) => {
      const record = runtime.unfinishedJob(requestId) ?? (await store.getRecord(requestId))
      if (record !== undefined) return record
      throw notKept(requestId)
    },
    cancelInvocation: async ({ params, query: { graceful = false }, identity, requestId }) => {
      const record = await runtime.cancelJob(params.requestId, graceful)
      if (record !== undefined) {
        logger.info({ job: params.requestId, graceful, by: identity.name, requestId }, 'job ended by request')
        return record
      }
      const over = await store.getRecord(params.requestId)
      if (over === undefined) throw notKept(params.requestId)
      throw new AppError(`the call ${params.requestId} is over: it ended with ${over.statusCode}`, {
        code: 'invocation-over',
        fault: 'user',
      })
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

function notKept(requestId: string): AppError {
  return new AppError(`no record of the call ${requestId} is kept`, { code: 'invocation-not-found', fault: 'user' })
}
