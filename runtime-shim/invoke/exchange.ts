import type { Dispatcher } from 'undici'
import { AppError } from '../../common/index.ts'

/** Largest answer of an event call: one byte more is 407 (facts: scf-contract 1.8). */
export const MAX_ANSWER_BYTES = 6 * 1024 * 1024

export interface EventAnswer {
  status: number
  body: Buffer
}

/**
 * Sends `POST /event-invoke` and reads the whole answer. Rejects with `answer-too-large`, with the signal's reason, or with
 * what broke the connection. One dispatch handler instead of `request()`: it saves a stream for each call.
 */
export function exchangeEvent(
  connections: Dispatcher,
  body: Buffer,
  headers: Record<string, string>,
  signal: AbortSignal,
): Promise<EventAnswer> {
  const { promise, resolve, reject } = Promise.withResolvers<EventAnswer>()
  const chunks: Buffer[] = []
  let bytes = 0
  let status = 0
  let abort: ((reason: Error) => void) | undefined
  const onAbort = (): void => {
    reject(signal.reason)
    abort?.(signal.reason as Error)
  }
  if (signal.aborted) return Promise.reject(signal.reason as Error)
  signal.addEventListener('abort', onAbort, { once: true })
  const settle = (): void => signal.removeEventListener('abort', onAbort)
  connections.dispatch(
    { path: '/event-invoke', method: 'POST', headers, body, idempotent: false, blocking: true },
    {
      onRequestStart(controller) {
        abort = (reason) => controller.abort(reason)
        if (signal.aborted) controller.abort(signal.reason as Error)
      },
      onResponseStart(_controller, statusCode) {
        status = statusCode
      },
      onResponseData(controller, chunk) {
        bytes += chunk.length
        if (bytes > MAX_ANSWER_BYTES) controller.abort(answerTooLarge())
        else chunks.push(chunk)
      },
      onResponseEnd() {
        settle()
        resolve({ status, body: chunks.length === 1 && chunks[0] !== undefined ? chunks[0] : Buffer.concat(chunks) })
      },
      onResponseError(_controller, error) {
        settle()
        reject(error)
      },
    },
  )
  return promise
}

function answerTooLarge(): AppError {
  return new AppError('The size of response exceeds the upper limit (6MB)', { code: 'answer-too-large', fault: 'user' })
}
