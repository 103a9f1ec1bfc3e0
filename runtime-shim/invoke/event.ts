import type { Version } from '../../api/index.ts'
import type { VersionPool } from '../instances/index.ts'
import { failureResult, readAnswer } from './answer.ts'
import { type CallContext, recordOf, runCall, type Tried } from './call.ts'
import { perCallHeaders } from './event-head.ts'
import { EventExchange } from './exchange.ts'
import type { EventCall, EventResult, RecordSink } from './runtime.ts'

const EMPTY = Buffer.alloc(0)

/** One event call: `POST /event-invoke` on an instance, and its result with the documented number. Never throws for what the function does. */
export async function invokeEvent(
  context: CallContext,
  pool: VersionPool,
  version: Version,
  call: EventCall,
  sink: RecordSink,
): Promise<EventResult & { instance: string | null }> {
  const { requestId, callerRequestId, body, hold } = call
  const head = context.heads.of(version) + perCallHeaders(requestId, callerRequestId)
  const message = { head, body: typeof body === 'function' ? EMPTY : body, hold }
  const prepare =
    typeof body === 'function'
      ? async (): Promise<void> => {
          message.body = await body()
        }
      : undefined
  const result = await runCall(context, pool, { requestId, caller: call.caller, prepare }, ({ instance }, cut) => {
    const { promise, resolve, reject } = Promise.withResolvers<Tried<string>>()
    if (instance.connections === undefined) throw new Error(`instance ${instance.id} has no connections`)
    const exchange = new EventExchange(instance.connections, message, (error, answer) => {
      if (answer === undefined) return reject(error)
      const read = readAnswer(answer)
      resolve(read.ok ? { kind: 'done', value: read.json } : { kind: 'failed', failure: read.failure })
    })
    cut.onCut((reason) => exchange.abort(reason))
    exchange.start()
    return promise
  })
  const { outcome, instance, coldStart } = result
  const isDone = outcome.kind === 'done'
  const statusCode = isDone ? 200 : outcome.failure.number
  const record = recordOf(version, 'event', call, result, statusCode, isDone ? null : outcome.failure.message)
  sink(record)
  const { durationMs, memoryBytes } = record
  return {
    info: { requestId, statusCode, durationMs, memoryBytes, coldStart },
    resultJson: isDone ? outcome.value : JSON.stringify(failureResult(outcome.failure, requestId)),
    instance: instance?.id ?? null,
  }
}
