import type { DatabaseSync, StatementSync } from 'node:sqlite'
import type { PullCredentialEntry } from '../../api/index.ts'
import type { CredentialInForce, LedgerChange, LedgerCredential, LedgerQuery, LedgerStart } from './ledger.ts'
import type { Retention } from './store.ts'

const MAX_STARTS_SHOWN = 1_000
const MAX_ENTRIES = 100_000
const PRUNE_AT_ONCE = 2_000

type Row = Record<string, unknown>

/** The SQL of the ledger of pull credentials. Used by the writer thread only. */
export class CredentialTable {
  readonly #db: DatabaseSync
  readonly #statements = new Map<string, StatementSync>()

  constructor(db: DatabaseSync) {
    this.#db = db
  }

  /** Those in force; what passed its deadline while nobody ran is ended by it. */
  open(nowMs: number): CredentialInForce[] {
    this.#sql(
      `UPDATE pull_credentials SET ended_at_ms = deadline_ms, end_reason = 'deadline'
       WHERE ended_at_ms IS NULL AND deadline_ms <= ?`,
    ).run(nowMs)
    return this.#sql('SELECT * FROM pull_credentials WHERE ended_at_ms IS NULL')
      .all()
      .map((row) => ({ ...identityOf(row), secretHash: textOf(row['secret_hash']), bearers: Number(row['bearers']) }))
  }

  add(credential: LedgerCredential): undefined {
    this.#sql(
      `INSERT INTO pull_credentials (id, namespace, registry, repository, provider, made_at_ms, deadline_ms, secret_hash)
       VALUES (?, ?, ?, ?, ?, ?, ?, ?)`,
    ).run(
      credential.id,
      credential.namespace,
      credential.registry,
      credential.repository,
      credential.provider,
      Math.trunc(credential.madeAtMs),
      Math.trunc(credential.deadlineMs),
      credential.secretHash,
    )
  }

  /** The first use and the first end count. */
  change(id: string, { firstUsedAtMs, bearers, endedAtMs, endReason }: LedgerChange): undefined {
    this.#sql(
      `UPDATE pull_credentials SET first_used_at_ms = coalesce(first_used_at_ms, ?), bearers = max(bearers, ?),
       end_reason = CASE WHEN ended_at_ms IS NULL THEN ? ELSE end_reason END, ended_at_ms = coalesce(ended_at_ms, ?)
       WHERE id = ?`,
    ).run(firstUsedAtMs ?? null, bearers ?? 0, endReason ?? null, endedAtMs ?? null, id)
  }

  putStart(start: LedgerStart): undefined {
    this.#sql(
      `INSERT INTO pull_credential_starts VALUES (?, ?, ?, ?, ?, ?, ?)
       ON CONFLICT DO UPDATE SET instance = excluded.instance`,
    ).run(
      start.credential,
      start.number,
      start.namespace,
      start.function,
      start.version,
      start.instance,
      Math.trunc(start.joinedAtMs),
    )
  }

  list({ sinceMs = 0, namespace, limit }: LedgerQuery): PullCredentialEntry[] {
    return this.#sql(
      `SELECT * FROM pull_credentials WHERE made_at_ms >= ? AND (? IS NULL OR namespace = ?) ORDER BY number DESC LIMIT ?`,
    )
      .all(sinceMs, namespace ?? null, namespace ?? null, limit)
      .map((row) => this.#entry(row))
  }

  get(id: string): PullCredentialEntry | undefined {
    const row = this.#sql('SELECT * FROM pull_credentials WHERE id = ?').get(id)
    return row === undefined ? undefined : this.#entry(row)
  }

  /** Removes some of what is too old or too many, never what is in force; answers how many. */
  prune(retention: Pick<Retention, 'maxAgeMs'>, nowMs: number): number {
    const newest = Number(this.#sql('SELECT max(number) AS n FROM pull_credentials').get()?.['n'] ?? 0)
    const removed = this.#sql(
      `DELETE FROM pull_credentials WHERE number IN
       (SELECT number FROM pull_credentials WHERE ended_at_ms IS NOT NULL AND (number <= ? OR made_at_ms < ?)
        ORDER BY number LIMIT ${PRUNE_AT_ONCE}) RETURNING id`,
    ).all(newest - MAX_ENTRIES, nowMs - retention.maxAgeMs)
    const forget = this.#sql('DELETE FROM pull_credential_starts WHERE credential = ?')
    for (const { id } of removed) forget.run(String(id))
    return removed.length
  }

  #entry(row: Row): PullCredentialEntry {
    const { id } = identityOf(row)
    return {
      ...identityOf(row),
      firstUsedAtMs: numberOf(row['first_used_at_ms']),
      endedAtMs: numberOf(row['ended_at_ms']),
      endReason: textOf(row['end_reason']),
      bearers: Number(row['bearers']),
      starts: this.#starts(id),
    }
  }

  /** With the calls whose records say that their start used this credential. */
  #starts(id: string): PullCredentialEntry['starts'] {
    const calls = new Map<string, string[]>()
    const records = this.#sql(
      `SELECT request_id, instance FROM records WHERE cold_start IS NOT NULL AND json_extract(cold_start, '$.credential') = ?
       LIMIT ${MAX_STARTS_SHOWN}`,
    ).all(id)
    for (const { instance, request_id } of records) {
      const key = String(instance)
      calls.set(key, [...(calls.get(key) ?? []), String(request_id)])
    }
    return this.#sql(
      `SELECT * FROM pull_credential_starts WHERE credential = ? ORDER BY number LIMIT ${MAX_STARTS_SHOWN}`,
    )
      .all(id)
      .map((row) => ({
        namespace: String(row['namespace']),
        function: String(row['function']),
        version: String(row['version']),
        instance: textOf(row['instance']),
        joinedAtMs: Number(row['joined_at_ms']),
        requestIds: calls.get(String(row['instance'])) ?? [],
      }))
  }

  #sql(text: string): StatementSync {
    const known = this.#statements.get(text)
    if (known !== undefined) return known
    const made = this.#db.prepare(text)
    this.#statements.set(text, made)
    return made
  }
}

function identityOf(row: Row): Omit<LedgerCredential, 'secretHash'> {
  return {
    id: String(row['id']),
    namespace: String(row['namespace']),
    registry: String(row['registry']),
    repository: String(row['repository']),
    provider: String(row['provider']),
    madeAtMs: Number(row['made_at_ms']),
    deadlineMs: Number(row['deadline_ms']),
  }
}

function textOf(value: unknown): string | null {
  return typeof value === 'string' ? value : null
}

function numberOf(value: unknown): number | null {
  return typeof value === 'number' ? value : null
}
