import type { InvocationRecord } from '../../api/index.ts'

export type RecordRow = (string | number | null)[]

/** Values of a record in the order of the INSERT's columns. */
export function recordToRow(record: InvocationRecord): RecordRow {
  return [
    record.requestId,
    record.callerRequestId,
    record.namespace,
    record.function,
    record.version,
    record.kind,
    record.instance,
    Math.trunc(record.startedAtMs),
    record.durationMs,
    record.statusCode,
    record.errorMessage?.slice(0, 4096) ?? null,
    Math.trunc(record.memoryBytes),
    Math.trunc(record.memoryLimitMb),
    record.coldStart === null ? null : JSON.stringify(record.coldStart),
    record.exitCode ?? null,
    record.queueMs ?? null,
  ]
}

export function recordFromRow(row: Record<string, unknown>): InvocationRecord {
  const text = (key: string): string | null => {
    const value = row[key]
    return typeof value === 'string' ? value : null
  }
  const coldStart = text('cold_start')
  const exitCode = row['exit_code']
  return {
    requestId: String(row['request_id']),
    callerRequestId: text('caller_request_id'),
    namespace: String(row['namespace']),
    function: String(row['function']),
    version: String(row['version']),
    kind: row['kind'] as InvocationRecord['kind'],
    instance: text('instance'),
    startedAtMs: Number(row['started_at_ms']),
    durationMs: Number(row['duration_ms']),
    statusCode: Number(row['status_code']),
    errorMessage: text('error_message'),
    memoryBytes: Number(row['memory_bytes']),
    memoryLimitMb: Number(row['memory_limit_mb']),
    coldStart: coldStart === null ? null : JSON.parse(coldStart),
    ...(typeof exitCode === 'number' ? { exitCode } : {}),
    ...(typeof row['queue_ms'] === 'number' ? { queueMs: row['queue_ms'] } : {}),
  }
}
