import type { InvocationResult, Version } from '../../api/index.ts'
import type { VersionPool } from '../instances/index.ts'
import { failureResult, readAnswer } from './answer.ts'
import { type CallContext, recordOf, runCall } from './call.ts'
import { exchangeEvent } from './exchange.ts'
import { platformHeaders } from './headers.ts'
import type { EventCall, RecordSink } from './runtime.ts'

/** One event call: `POST /event-invoke` on an instance, and its result with the documented number. Never throws for what the function does. */
export async function invokeEvent(
  context: CallContext,
  pool: VersionPool,
  version: Version,
  call: EventCall,
  sink: RecordSink,
): Promise<Omit<InvocationResult, 'logTail'> & { instance: string | null }> {
  const { requestId, callerRequestId, body } = call
  const headers = {
    'content-type': 'application/json',
    ...(callerRequestId === null ? {} : { 'x-request-id': callerRequestId }),
    ...platformHeaders(version, requestId, context.identity),
  }
  const result = await runCall(context, pool, requestId, null, async ({ instance }, signal) => {
    if (instance.connections === undefined) throw new Error(`instance ${instance.id} has no connections`)
    const answer = readAnswer(await exchangeEvent(instance.connections, body, headers, signal))
    return answer.ok ? { kind: 'done', value: answer.result } : { kind: 'failed', failure: answer.failure }
  })
  const { outcome } = result
  const statusCode = outcome.kind === 'done' ? 200 : outcome.failure.number
  const errorMessage = outcome.kind === 'done' ? null : outcome.failure.message
  sink(recordOf(version, 'event', { requestId, callerRequestId }, result, statusCode, errorMessage))
  return {
    requestId,
    statusCode,
    result: outcome.kind === 'done' ? outcome.value : failureResult(outcome.failure, requestId),
    durationMs: Math.round(result.durationMs * 1_000) / 1_000,
    memoryBytes: result.instance?.memoryBytes ?? 0,
    coldStart: result.coldStart,
    instance: result.instance?.id ?? null,
  }
}
