import { isUtf8 } from 'node:buffer'
import type { InvocationRecord } from '../../api/index.ts'
import type { FunctionName } from './calls.ts'
import { isoTime } from './clock.ts'
import type { MergedLine } from './merge.ts'
import { type ScfRecord, toScfRecord } from './scf-record.ts'

/** A line as readers get it. */
export interface LogLine {
  /** ISO 8601 in UTC with microseconds. */
  time: string
  /** `platform`: a line of our own: START, END, Report, and notices of lost output. */
  stream: 'stdout' | 'stderr' | 'platform'
  /** Null for a call that reached no instance, and for notices about the function. */
  instance: string | null
  /** Null where it is not certain which call printed the line. */
  requestId: string | null
  /** Without its newline. NUL and control characters as they are; what is no UTF-8 is shown as U+FFFD. */
  line: string
  /** The exact bytes, when they are not UTF-8. */
  lineBase64?: string
  /** The next line of this instance and stream is the rest of this one (lines above 2 MB). */
  continues?: true
  /** The same with the cloud service's names, when asked for (`format: 'scf'`). */
  scf?: ScfRecord
}

export function toLogLine(merged: MergedLine): LogLine {
  const time = isoTime(merged.timeUs)
  if (merged.kind === 'platform') {
    const { instance, requestId, text } = merged
    return { time, stream: 'platform', instance, requestId, line: text }
  }
  const { stream, instance, requestId, text, continues } = merged.line
  return {
    time,
    stream,
    instance,
    requestId,
    line: text.toString('utf8'),
    ...(isUtf8(text) ? {} : { lineBase64: text.toString('base64') }),
    ...(continues ? { continues } : {}),
  }
}

export function withScf(
  line: LogLine,
  timeUs: number,
  owner: FunctionName,
  record: InvocationRecord | undefined,
): LogLine {
  const { requestId, line: message, stream } = line
  const scf = toScfRecord({ ...owner, timeUs, requestId, message, record, isPlatform: stream === 'platform' })
  return { ...line, scf }
}
