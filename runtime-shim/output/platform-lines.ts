import type { InvocationRecord } from '../../api/index.ts'

/** The platform's own lines of a call, made from its record when they are read (facts: scf-contract 5.2). */

export function startLine(requestId: string): string {
  return `START RequestId:${requestId}`
}

/** `Init Report …` of a call that waited for an instance; undefined for all others. */
export function initReportLine(record: InvocationRecord): string | undefined {
  const { coldStart } = record
  if (coldStart === null) return undefined
  const { queue, credential, pull, create, start, listen } = coldStart.phases
  // Unpacking goes on within the pull.
  const pullMs = sum(credential, pull)
  const phases = [
    ...(pull === undefined ? [] : [`PullCode: ${ms(pullMs)}`]),
    `InitRuntime: ${ms(sum(queue, create, start) + (pull === undefined ? pullMs : 0))}`,
    `InitFunction: ${ms(sum(listen))}`,
  ]
  return (
    `Init Report RequestId: ${record.requestId} Coldstart: ${ms(coldStart.totalMs)} (${phases.join(' ')}) ` +
    `Memory: ${record.memoryLimitMb}MB MemUsage: ${megabytes(record.memoryBytes)}MB`
  )
}

/** What follows the function's own lines, in order: on failure `ERROR` and `Response`; then `END` and `Report`. */
export function endLines(record: InvocationRecord): string[] {
  const { requestId, statusCode } = record
  const failed = statusCode !== 200 && !(record.kind === 'web' && statusCode < 400)
  return [
    ...(failed ? [`ERROR RequestId:${requestId} Result:${statusCode}`] : []),
    ...(failed && record.errorMessage !== null ? [responseLine(record, record.errorMessage)] : []),
    `END RequestId:${requestId}`,
    `Report RequestId:${requestId} Duration:${ms(record.durationMs)} Memory:${record.memoryLimitMb}MB MemUsage:${megabytes(record.memoryBytes)}MB`,
  ]
}

function responseLine({ requestId, statusCode }: InvocationRecord, errorMessage: string): string {
  const answer = { errorCode: -1, errorMessage, requestId, statusCode }
  return `Response RequestId:${requestId} RetMsg:${JSON.stringify(answer)}`
}

function sum(...values: (number | undefined)[]): number {
  return values.reduce<number>((total, value) => total + (value ?? 0), 0)
}

function ms(value: number): string {
  return `${Math.round(value)}ms`
}

/** With at most six decimals, as `21.402641`. */
function megabytes(bytes: number): string {
  return String(Number((bytes / (1024 * 1024)).toFixed(6)))
}
