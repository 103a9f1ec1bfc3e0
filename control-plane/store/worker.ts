import { parentPort, workerData } from 'node:worker_threads'
import { AppError, messageOf, toPlainError } from '../../common/index.ts'
import { Database } from './database.ts'
import type { Opened, OperationName, WorkerAnswer, WorkerRequest } from './messages.ts'
import type { RecordRow } from './record-row.ts'

/**
 * The one writer, a thread of the server. Requests that have arrived together are committed together and answered after the
 * common commit: gathering makes durable writes 4 to 36 times as many a second (docs/adr).
 */
const GATHER_AT_MOST = 256
/** Reads, and what may be lost with the machine: the commit of nothing else does not wait for the disk. */
const NOT_AWAITED: ReadonlySet<OperationName> = new Set([
  'addRecords',
  'listRecords',
  'getRecord',
  'changeCredential',
  'putCredentialStart',
  'listCredentials',
  'getCredential',
])

const port = parentPort
if (port === null) throw new Error('store/worker.ts runs as a worker thread only')
const { path } = workerData as { path: string }

const send = (message: Opened | WorkerAnswer): void => port.postMessage(message)

function open(): Database | undefined {
  try {
    const database = new Database(path)
    send({ opened: database.contents() })
    return database
  } catch (thrown) {
    send({ failed: toPlainError(wrap(thrown, `database ${path} cannot be opened`)) })
    return undefined
  }
}

const database = open()
let waiting: WorkerRequest[] = []

port.on('message', (request: WorkerRequest) => {
  if (waiting.length === 0) setImmediate(commitWaiting)
  waiting.push(request)
})

function commitWaiting(): void {
  const batch = waiting.splice(0, GATHER_AT_MOST)
  if (waiting.length > 0) setImmediate(commitWaiting)
  if (database === undefined || batch.length === 0) return
  for (const answer of commit(database, batch)) send(answer)
  if (batch.some(({ op }) => op === 'close')) {
    database.close()
    port?.close()
  }
}

/** One transaction for the batch. A request that is refused undoes itself only; a commit that fails refuses them all. */
function commit(db: Database, batch: readonly WorkerRequest[]): WorkerAnswer[] {
  try {
    db.waitForDisk(batch.some(({ op }) => !NOT_AWAITED.has(op)))
    return db.transaction(() => batch.map((request) => answer(db, request)))
  } catch (thrown) {
    const error = toPlainError(wrap(thrown, 'the commit failed, nothing was changed'))
    return batch.map(({ id }) => ({ id, error }))
  }
}

function answer(db: Database, request: WorkerRequest): WorkerAnswer {
  try {
    return { id: request.id, result: db.savepoint(() => execute(db, request)) }
  } catch (thrown) {
    if (thrown instanceof AppError) return { id: request.id, error: toPlainError(thrown) }
    throw thrown
  }
}

function execute(db: Database, { op, args }: WorkerRequest): unknown {
  switch (op) {
    case 'putNamespace':
      return db.putNamespace(args.namespace)
    case 'deleteNamespace':
      return db.deleteNamespace(args.name)
    case 'putFunction':
      return db.putFunction(args.draft, args.ifRevision, args.nowMs)
    case 'deleteFunction':
      return db.deleteFunction(args.namespace, args.name)
    case 'putDocument':
      return db.putDocument(args.collection, args.key, args.document)
    case 'deleteDocument':
      return db.deleteDocument(args.collection, args.key)
    case 'addRecords':
      return db.addRecords(JSON.parse(args.rows) as RecordRow[])
    case 'listRecords':
      return db.listRecords(args.query)
    case 'getRecord':
      return db.getRecord(args.requestId)
    case 'addCredential':
      return db.credentials.add(args.credential)
    case 'changeCredential':
      return db.credentials.change(args.id, args.change)
    case 'putCredentialStart':
      return db.credentials.putStart(args.start)
    case 'listCredentials':
      return db.credentials.list(args.query)
    case 'getCredential':
      return db.credentials.get(args.id)
    case 'prune':
      return db.prune(args.retention, args.nowMs)
    case 'close':
      return undefined
    default:
      return op satisfies never
  }
}

function wrap(thrown: unknown, what: string): AppError {
  if (thrown instanceof AppError) return thrown
  return new AppError(`${what}: ${messageOf(thrown)}`, {
    code: 'store-failed',
    retryable: true,
    hint: 'see that the disk has space and the data directory can be written',
    cause: thrown,
  })
}
