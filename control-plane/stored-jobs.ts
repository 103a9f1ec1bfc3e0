import { AppError } from '../common/index.ts'
import type { JobStore, StoredJob } from '../runtime-shim/index.ts'
import type { Store } from './store/store.ts'

const COLLECTION = 'jobs'

/** Accepted jobs among the store's documents, until their records are kept. */
export function storedJobs(store: Pick<Store, 'documents' | 'record' | 'getRecord'>): JobStore {
  const { documents } = store
  return {
    list: () => documents.list(COLLECTION).map(({ document }) => document as StoredJob),
    put: (job) => documents.put(COLLECTION, job.requestId, { ...job }),
    finish: async (record) => {
      const { requestId } = record
      store.record(record)
      // Reading it has it written first.
      if ((await store.getRecord(requestId))?.statusCode !== record.statusCode) throw notKept(requestId)
      await documents.delete(COLLECTION, requestId)
    },
  }
}

function notKept(requestId: string): AppError {
  return new AppError(`the record of job ${requestId} was not written`, { code: 'store-failed', retryable: true })
}
