import type { InvocationRecord, Namespace, Settings, Version } from '../../api/index.ts'
import type { CredentialLedger } from './ledger.ts'

/**
 * Where definitions and records are kept. Definitions are durable before a write resolves; records are written within 200 ms and
 * may be lost with the process. Adapters: SQLite (sqlite.ts); custom resources on a cluster later, same contract.
 */
export interface Store {
  /** What routing reads: always in memory, changed only after the write is durable. */
  readonly snapshot: Snapshot
  /** Creates a namespace or changes what it allows. */
  putNamespace(namespace: Namespace): Promise<Namespace>
  /** Throws `namespace-not-found`, `namespace-in-use`. */
  deleteNamespace(name: string): Promise<Namespace>
  /**
   * Makes `draft` the `$LATEST` of its function, with the next revision. Revisions go on where they were when a function is
   * deleted and made again. Throws `revision-conflict` when `ifRevision` is not the present one (0: no such function).
   */
  putFunction(draft: VersionDraft, ifRevision?: number): Promise<Version>
  /** Throws `function-not-found`. */
  deleteFunction(namespace: string, name: string): Promise<Version>
  /** Keeps a record within 200 ms. Never waits and never throws: over the bound of waiting records the oldest is dropped and counted. */
  record(record: InvocationRecord): void
  /** Newest first. Records given to `record` before are seen. */
  listRecords(query: RecordQuery): Promise<InvocationRecord[]>
  getRecord(requestId: string): Promise<InvocationRecord | undefined>
  /** Small documents of other parts, by collection and key: registry users, their grants. Durable. */
  readonly documents: DocumentStore
  /** Every pull credential that was made, and who waited for its download. */
  readonly credentials: CredentialLedger
  /** How many records were dropped because the store was too slow or failed. */
  droppedRecords(): number
  /** Writes what waits, then ends. Idempotent. */
  close(): Promise<void>
}

export interface Snapshot {
  namespace(name: string): Namespace | undefined
  namespaces(): Namespace[]
  function(namespace: string, name: string): Version | undefined
  functions(namespace: string): Version[]
  allFunctions(): Version[]
}

/** A version that has not got its revision yet. */
export type VersionDraft = Pick<Version, 'namespace' | 'function' | 'image'> & { settings: Settings }

export interface RecordQuery {
  namespace: string
  function: string
  /** Started at or after. */
  sinceMs?: number
  /** Started at or before. */
  untilMs?: number
  limit: number
}

export interface DocumentStore {
  /** From memory. */
  get(collection: string, key: string): unknown
  list(collection: string): { key: string; document: unknown }[]
  put(collection: string, key: string, document: unknown): Promise<void>
  /** Answers whether there was one. */
  delete(collection: string, key: string): Promise<boolean>
}

/** How long and how many records are kept. */
export interface Retention {
  maxAgeMs: number
  maxRecords: number
}
export const DEFAULT_RETENTION: Retention = { maxAgeMs: 7 * 24 * 3_600_000, maxRecords: 1_000_000 }
