import { setTimeout as sleep } from 'node:timers/promises'
import { Value } from 'typebox/value'
import {
  DEFAULT_NAMESPACE_SETTINGS,
  type InvocationRecord,
  type Namespace,
  Settings,
  type Version,
} from '../../api/index.ts'
import { type Logger, messageOf } from '../../common/index.ts'
import { MemoryDocuments } from './documents.ts'
import { type CredentialLedger, WriterLedger } from './ledger.ts'
import { RecordBuffer } from './record-buffer.ts'
import { recordToRow } from './record-row.ts'
import { MemorySnapshot } from './snapshot.ts'
import {
  DEFAULT_RETENTION,
  type DocumentStore,
  type RecordQuery,
  type Retention,
  type Store,
  type VersionDraft,
} from './store.ts'
import { Writer } from './writer.ts'

export interface SqliteStoreOptions {
  /** Database file; made when it is not there. */
  path: string
  logger: Logger
  retention?: Retention
  /** How often records are pruned. Default 60,000 ms. */
  pruneEveryMs?: number
}

export const DEFAULT_NAMESPACE = 'default'

/** Opens the store: everything is in memory when this resolves. A new one has the namespace `default`. */
export async function openSqliteStore(options: SqliteStoreOptions): Promise<Store> {
  const { writer, contents } = await Writer.open(options.path)
  const snapshot = new MemorySnapshot()
  // One that was written before a setting existed has its default.
  for (const namespace of contents.namespaces) snapshot.setNamespace({ ...DEFAULT_NAMESPACE_SETTINGS, ...namespace })
  // One that an earlier version of the platform wrote lacks the settings that came since.
  for (const version of contents.functions) {
    snapshot.setFunction({ ...version, settings: Value.Default(Settings, version.settings) as Settings })
  }
  const documents = new MemoryDocuments(writer, contents.documents)
  const credentials = new WriterLedger(writer, contents.credentials, options.logger)
  const store = new SqliteStore(writer, { snapshot, documents, credentials }, options)
  if (snapshot.namespace(DEFAULT_NAMESPACE) === undefined) {
    await store.putNamespace({ name: DEFAULT_NAMESPACE, ...DEFAULT_NAMESPACE_SETTINGS, createdAtMs: Date.now() })
  }
  return store
}

interface StoreParts {
  snapshot: MemorySnapshot
  documents: DocumentStore
  credentials: CredentialLedger
}

class SqliteStore implements Store {
  readonly snapshot: MemorySnapshot
  readonly documents: DocumentStore
  readonly credentials: CredentialLedger
  readonly #writer: Writer
  readonly #records: RecordBuffer
  readonly #logger: Logger
  readonly #pruning: NodeJS.Timeout
  #closed: Promise<void> | undefined

  constructor(writer: Writer, parts: StoreParts, options: SqliteStoreOptions) {
    this.#writer = writer
    this.#logger = options.logger
    this.snapshot = parts.snapshot
    this.documents = parts.documents
    this.credentials = parts.credentials
    this.#records = new RecordBuffer({ write: (records) => this.#writeRecords(records) })
    const retention = options.retention ?? DEFAULT_RETENTION
    this.#pruning = setInterval(() => void this.#prune(retention), options.pruneEveryMs ?? 60_000)
    this.#pruning.unref()
  }

  async putNamespace(namespace: Namespace): Promise<Namespace> {
    const written = await this.#writer.request('putNamespace', { namespace })
    this.snapshot.setNamespace(written)
    return written
  }

  async deleteNamespace(name: string): Promise<Namespace> {
    const deleted = await this.#writer.request('deleteNamespace', { name })
    this.snapshot.removeNamespace(name)
    return deleted
  }

  async putFunction(draft: VersionDraft, ifRevision?: number): Promise<Version> {
    const expected = ifRevision === undefined ? {} : { ifRevision }
    const version = await this.#writer.request('putFunction', { draft, nowMs: Date.now(), ...expected })
    this.snapshot.setFunction(version)
    return version
  }

  async deleteFunction(namespace: string, name: string): Promise<Version> {
    const deleted = await this.#writer.request('deleteFunction', { namespace, name })
    this.snapshot.removeFunction(namespace, name)
    return deleted
  }

  record(record: InvocationRecord): void {
    this.#records.add(record)
  }

  droppedRecords(): number {
    return this.#records.dropped
  }

  listRecords(query: RecordQuery): Promise<InvocationRecord[]> {
    this.#records.hand()
    return this.#writer.request('listRecords', { query })
  }

  getRecord(requestId: string): Promise<InvocationRecord | undefined> {
    this.#records.hand()
    return this.#writer.request('getRecord', { requestId })
  }

  async #writeRecords(records: InvocationRecord[]): Promise<void> {
    try {
      await this.#writer.request('addRecords', { rows: JSON.stringify(records.map(recordToRow)) })
    } catch (thrown) {
      this.#logger.warn({ records: records.length, why: messageOf(thrown) }, 'invocation records lost')
      throw thrown
    }
  }

  async #prune(retention: Retention): Promise<void> {
    try {
      while ((await this.#writer.request('prune', { retention, nowMs: Date.now() })) > 0) await sleep(10)
    } catch (thrown) {
      if (this.#closed === undefined) this.#logger.warn({ why: messageOf(thrown) }, 'pruning records failed')
    }
  }

  close(): Promise<void> {
    this.#closed ??= this.#close()
    return this.#closed
  }

  async #close(): Promise<void> {
    clearInterval(this.#pruning)
    this.#records.hand()
    await this.#writer.close()
  }
}
