import type { InvocationRecord, Namespace, PullCredentialEntry, Version } from '../../api/index.ts'
import type { PlainError } from '../../common/index.ts'
import type { CredentialInForce, LedgerChange, LedgerCredential, LedgerQuery, LedgerStart } from './ledger.ts'
import type { RecordQuery, Retention, VersionDraft } from './store.ts'

/** What the server's thread asks of the writer thread, and the answer of each. */
export interface Operations {
  putNamespace: { args: { namespace: Namespace }; result: Namespace }
  deleteNamespace: { args: { name: string }; result: Namespace }
  putFunction: { args: { draft: VersionDraft; ifRevision?: number; nowMs: number }; result: Version }
  deleteFunction: { args: { namespace: string; name: string }; result: Version }
  putDocument: { args: { collection: string; key: string; document: unknown }; result: undefined }
  deleteDocument: { args: { collection: string; key: string }; result: boolean }
  /** `rows` is JSON of RecordRow[]: as a text a record crosses between the threads for a third of what it costs as an object. */
  addRecords: { args: { rows: string }; result: undefined }
  listRecords: { args: { query: RecordQuery }; result: InvocationRecord[] }
  getRecord: { args: { requestId: string }; result: InvocationRecord | undefined }
  addCredential: { args: { credential: LedgerCredential }; result: undefined }
  changeCredential: { args: { id: string; change: LedgerChange }; result: undefined }
  putCredentialStart: { args: { start: LedgerStart }; result: undefined }
  listCredentials: { args: { query: LedgerQuery }; result: PullCredentialEntry[] }
  getCredential: { args: { id: string }; result: PullCredentialEntry | undefined }
  prune: { args: { retention: Retention; nowMs: number }; result: number }
  close: { args: object; result: undefined }
}
export type OperationName = keyof Operations

export type WorkerRequest = {
  [O in OperationName]: { id: number; op: O; args: Operations[O]['args'] }
}[OperationName]

export type WorkerAnswer = { id: number; result: unknown } | { id: number; error: PlainError }

/** The first message of the writer thread: everything that the snapshot begins with, or why there is none. */
export type Opened = { opened: Contents } | { failed: PlainError }
export interface Contents {
  namespaces: Namespace[]
  functions: Version[]
  documents: { collection: string; key: string; document: unknown }[]
  credentials: CredentialInForce[]
}
