import { documentedNumber } from '../../api/index.ts'
import { AppError } from '../../common/index.ts'
import type { Handlers } from '../handlers.ts'
import type { RouteDependencies } from './dependencies.ts'

type Names = 'listPullCredentials' | 'endPullCredential' | 'explainInvocation'
const DEFAULT_LIMIT = 100

export function pullCredentialRoutes({ store, pulls, logger }: RouteDependencies): Pick<Handlers, Names> {
  return {
    listPullCredentials: async ({ query: { sinceMs, namespace, limit = DEFAULT_LIMIT } }) => ({
      credentials: await store.credentials.list({
        limit,
        ...(sinceMs === undefined ? {} : { sinceMs }),
        ...(namespace === undefined ? {} : { namespace }),
      }),
    }),
    endPullCredential: async ({ params: { id }, identity, requestId }) => {
      const ended = await pulls.end(id, `ended by ${identity.name}`)
      if (!ended) {
        throw new AppError(`there is no pull credential ${id} in force`, {
          code: 'pull-credential-not-found',
          fault: 'user',
          hint: 'see which there are: slipway registry credentials list',
        })
      }
      logger.info({ credential: id, by: identity.name, requestId }, 'pull credential ended by request')
      return { id }
    },
    explainInvocation: async ({ params: { requestId } }) => {
      const invocation = await store.getRecord(requestId)
      if (invocation === undefined) {
        throw new AppError(`no record of the call ${requestId} is kept`, {
          code: 'invocation-not-found',
          fault: 'user',
        })
      }
      const id = invocation.coldStart?.credential
      const credential = id === undefined ? undefined : await store.credentials.get(id)
      return { invocation, number: meaningOf(invocation.statusCode), credential: credential ?? null }
    },
  }
}

function meaningOf(number: number): { number: number; name: string; meaning: string } {
  const { name, meaning } = documentedNumber(number) ?? { name: 'Unknown', meaning: 'This number is not documented.' }
  return { number, name, meaning }
}
