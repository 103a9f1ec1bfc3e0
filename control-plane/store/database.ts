import { DatabaseSync, type StatementSync } from 'node:sqlite'
import type { InvocationRecord, Namespace, Version } from '../../api/index.ts'
import { AppError } from '../../common/index.ts'
import { CredentialTable } from './credential-table.ts'
import type { Contents } from './messages.ts'
import { MIGRATIONS } from './migrations.ts'
import { type RecordRow, recordFromRow } from './record-row.ts'
import type { RecordQuery, Retention, VersionDraft } from './store.ts'

const PRUNE_AT_ONCE = 5_000

/** The SQL side of the store: synchronous, used by the writer thread only. Every method is one statement group inside the caller's transaction. */
export class Database {
  readonly credentials: CredentialTable
  readonly #db: DatabaseSync
  readonly #statements = new Map<string, StatementSync>()
  #waits = true

  /** Opens (or makes) the database and brings its schema up to date. Throws `store-newer`. */
  constructor(path: string) {
    this.#db = new DatabaseSync(path, { timeout: 5_000 })
    this.#db.exec('PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON')
    this.#migrate(path)
    this.credentials = new CredentialTable(this.#db)
  }

  #migrate(path: string): void {
    const version = Number(this.#get('PRAGMA user_version')?.['user_version'] ?? 0)
    if (version > MIGRATIONS.length) {
      throw new AppError(`${path} has schema ${version}, this platform knows up to ${MIGRATIONS.length}`, {
        code: 'store-newer',
        hint: 'start the newer version of the platform again',
      })
    }
    for (const [index, step] of MIGRATIONS.entries()) {
      if (index >= version) this.transaction(() => this.#db.exec(`${step}; PRAGMA user_version = ${index + 1}`))
    }
  }

  /**
   * Whether the next commits return only when the disk has them. Records need not survive a loss of power, so a commit of nothing else
   * does not wait; the next one that does takes them along (SQLite: PRAGMA synchronous, in WAL mode).
   */
  waitForDisk(wait: boolean): void {
    if (wait === this.#waits) return
    this.#db.exec(`PRAGMA synchronous = ${wait ? 'FULL' : 'NORMAL'}`)
    this.#waits = wait
  }

  /** Runs `work` in one transaction: all of it is there when this returns (durable: see `waitForDisk`), or none of it is. */
  transaction<T>(work: () => T): T {
    this.#db.exec('BEGIN IMMEDIATE')
    try {
      const result = work()
      this.#db.exec('COMMIT')
      return result
    } catch (thrown) {
      // A full disk has SQLite roll back by itself.
      if (this.#db.isTransaction) this.#db.exec('ROLLBACK')
      throw thrown
    }
  }

  /** Runs `work` so that its failure undoes its own changes only, not those of others in the same transaction. */
  savepoint<T>(work: () => T): T {
    this.#db.exec('SAVEPOINT one')
    try {
      const result = work()
      this.#db.exec('RELEASE one')
      return result
    } catch (thrown) {
      if (this.#db.isTransaction) this.#db.exec('ROLLBACK TO one; RELEASE one')
      throw thrown
    }
  }

  contents(): Contents {
    return {
      namespaces: this.#all('SELECT document FROM namespaces').map((row) => parse<Namespace>(row['document'])),
      functions: this.#all('SELECT document FROM functions').map((row) => parse<Version>(row['document'])),
      documents: this.#all('SELECT collection, key, document FROM documents').map((row) => ({
        collection: String(row['collection']),
        key: String(row['key']),
        document: parse(row['document']),
      })),
      credentials: this.credentials.open(Date.now()),
    }
  }

  putNamespace(namespace: Namespace): Namespace {
    this.#run(
      'INSERT INTO namespaces VALUES (?, ?) ON CONFLICT DO UPDATE SET document = excluded.document',
      namespace.name,
      JSON.stringify(namespace),
    )
    return namespace
  }

  deleteNamespace(name: string): Namespace {
    const found = this.#get('SELECT document FROM namespaces WHERE name = ?', name)
    if (found === undefined) throw namespaceNotFound(name)
    const used = this.#get('SELECT count(*) AS n FROM functions WHERE namespace = ?', name)
    if (Number(used?.['n']) > 0) {
      throw new AppError(`namespace ${name} cannot be deleted: it has ${String(used?.['n'])} functions`, {
        code: 'namespace-in-use',
        fault: 'user',
        hint: `delete them first: slipway list --namespace ${name}`,
      })
    }
    this.#run('DELETE FROM namespaces WHERE name = ?', name)
    return parse(found['document'])
  }

  putFunction(draft: VersionDraft, ifRevision: number | undefined, nowMs: number): Version {
    const { namespace, function: name } = draft
    if (this.#get('SELECT 1 FROM namespaces WHERE name = ?', namespace) === undefined)
      throw namespaceNotFound(namespace)
    const present = this.#function(namespace, name)
    if (ifRevision !== undefined && ifRevision !== (present?.revision ?? 0)) {
      throw new AppError(
        `function ${namespace}/${name} is at revision ${present?.revision ?? 0}, not at ${ifRevision} as the request expects`,
        { code: 'revision-conflict', fault: 'user', hint: 'read the function again and decide anew' },
      )
    }
    const row = this.#get(
      `INSERT INTO revisions VALUES (?, ?, 1)
       ON CONFLICT DO UPDATE SET revision = revision + 1 RETURNING revision`,
      namespace,
      name,
    )
    const version: Version = { ...draft, version: '$LATEST', revision: Number(row?.['revision']), createdAtMs: nowMs }
    this.#run(
      'INSERT INTO functions VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET document = excluded.document',
      namespace,
      name,
      JSON.stringify(version),
    )
    return version
  }

  deleteFunction(namespace: string, name: string): Version {
    const present = this.#function(namespace, name)
    if (present === undefined) {
      throw new AppError(`there is no function ${name} in namespace ${namespace}`, {
        code: 'function-not-found',
        fault: 'user',
        hint: `see those there are: slipway list --namespace ${namespace}`,
      })
    }
    this.#run('DELETE FROM functions WHERE namespace = ? AND name = ?', namespace, name)
    return present
  }

  #function(namespace: string, name: string): Version | undefined {
    const row = this.#get('SELECT document FROM functions WHERE namespace = ? AND name = ?', namespace, name)
    return row === undefined ? undefined : parse(row['document'])
  }

  putDocument(collection: string, key: string, document: unknown): undefined {
    this.#run(
      'INSERT INTO documents VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET document = excluded.document',
      collection,
      key,
      JSON.stringify(document),
    )
  }

  deleteDocument(collection: string, key: string): boolean {
    return this.#run('DELETE FROM documents WHERE collection = ? AND key = ?', collection, key) > 0
  }

  /** A record with a request id that is there already replaces it. */
  addRecords(rows: readonly RecordRow[]): undefined {
    const insert = this.#statement(
      `INSERT OR REPLACE INTO records (request_id, caller_request_id, namespace, function, version, kind, instance, started_at_ms,
       duration_ms, status_code, error_message, memory_bytes, memory_limit_mb, cold_start, exit_code, queue_ms)
       VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
    )
    for (const row of rows) insert.run(...row)
  }

  listRecords(query: RecordQuery): InvocationRecord[] {
    return this.#all(
      `SELECT * FROM records WHERE namespace = ? AND function = ? AND started_at_ms BETWEEN ? AND ?
       ORDER BY started_at_ms DESC LIMIT ?`,
      query.namespace,
      query.function,
      query.sinceMs ?? 0,
      query.untilMs ?? Number.MAX_SAFE_INTEGER,
      query.limit,
    ).map(recordFromRow)
  }

  getRecord(requestId: string): InvocationRecord | undefined {
    const row = this.#get('SELECT * FROM records WHERE request_id = ?', requestId)
    return row === undefined ? undefined : recordFromRow(row)
  }

  /** Removes some of the records and credentials that are too old or too many; answers how many. Call again until it answers 0. */
  prune(retention: Retention, nowMs: number): number {
    const newest = Number(this.#get('SELECT max(id) AS id FROM records')?.['id'] ?? 0)
    const records = this.#run(
      `DELETE FROM records WHERE id IN
       (SELECT id FROM records WHERE id <= ? OR started_at_ms < ? ORDER BY id LIMIT ${PRUNE_AT_ONCE})`,
      newest - retention.maxRecords,
      nowMs - retention.maxAgeMs,
    )
    return records + this.credentials.prune(retention, nowMs)
  }

  close(): void {
    this.#db.close()
  }

  #statement(sql: string): StatementSync {
    const known = this.#statements.get(sql)
    if (known !== undefined) return known
    const made = this.#db.prepare(sql)
    this.#statements.set(sql, made)
    return made
  }

  #run(sql: string, ...values: (string | number)[]): number {
    return Number(this.#statement(sql).run(...values).changes)
  }

  #get(sql: string, ...values: (string | number)[]): Record<string, unknown> | undefined {
    return this.#statement(sql).get(...values)
  }

  #all(sql: string, ...values: (string | number)[]): Record<string, unknown>[] {
    return this.#statement(sql).all(...values)
  }
}

function parse<T>(document: unknown): T {
  return JSON.parse(String(document)) as T
}

function namespaceNotFound(name: string): AppError {
  return new AppError(`there is no namespace ${name}`, {
    code: 'namespace-not-found',
    fault: 'user',
    hint: `make it: slipway namespace create ${name}`,
  })
}
