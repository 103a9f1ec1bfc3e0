import type { InvocationRecord } from '../../api/index.ts'

/** A line with the names of the cloud service's log records (facts: scf-contract 5.1). */
export interface ScfRecord {
  SCF_FunctionName: string
  SCF_Namespace: string
  /** Start of the invocation, ms; 0 for a line of no certain call. */
  SCF_StartTime: number
  /** ms. */
  SCF_LogTime: number
  SCF_RequestId: string
  /** ms; 0 while the call runs. */
  SCF_Duration: number
  SCF_Alias: string
  /** The version. */
  SCF_Qualifier: string
  /** MB. */
  SCF_MemUsage: number
  SCF_Level: 'INFO' | 'ERROR'
  SCF_Message: string
  SCF_Type: 'Platform' | 'Custom'
  /** 202 while the call runs, and for lines of no certain call. */
  SCF_StatusCode: number
  SCF_RetryNum: number
}

export interface ScfLine {
  namespace: string
  function: string
  timeUs: number
  isPlatform: boolean
  requestId: string | null
  message: string
  /** The call, when it is finished. */
  record: InvocationRecord | undefined
}

/** Lines on stderr are INFO like all others, as in the original; only the platform's ERROR line is not. */
export function toScfRecord(line: ScfLine): ScfRecord {
  const { record } = line
  return {
    SCF_FunctionName: line.function,
    SCF_Namespace: line.namespace,
    SCF_StartTime: Math.floor(record?.startedAtMs ?? 0),
    SCF_LogTime: Math.floor(line.timeUs / 1000),
    SCF_RequestId: line.requestId ?? '',
    SCF_Duration: Math.round(record?.durationMs ?? 0),
    SCF_Alias: '',
    SCF_Qualifier: record?.version ?? '',
    SCF_MemUsage: Number(((record?.memoryBytes ?? 0) / (1024 * 1024)).toFixed(6)),
    SCF_Level: line.isPlatform && line.message.startsWith('ERROR ') ? 'ERROR' : 'INFO',
    SCF_Message: line.message,
    SCF_Type: line.isPlatform ? 'Platform' : 'Custom',
    SCF_StatusCode: record?.statusCode ?? 202,
    SCF_RetryNum: 0,
  }
}
