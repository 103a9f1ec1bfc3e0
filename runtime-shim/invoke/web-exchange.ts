import type { IncomingMessage } from 'node:http'
import type { ConnectionUser, KeptConnection, KeptConnections } from '../instances/index.ts'
import type { CallerAnswer } from './caller-answer.ts'
import { hasBody, RequestBody } from './request-body.ts'
import { WebAnswerReader } from './web-answer-reader.ts'

/** A caller that expects 100 is told to go on after so long, whatever the function does (RFC 9110 10.1.1: it need not wait for ever). */
const CONTINUE_AFTER_MS = 1_000

/** RFC 9110 9.2.2: of these, two are as one. */
const IDEMPOTENT = new Set(['GET', 'HEAD', 'OPTIONS', 'PUT', 'DELETE', 'TRACE'])

export interface WebRequest {
  request: IncomingMessage
  /** Request line and all lines of the head, the empty one included. */
  head: string
  maxRequestBytes: number
  /** The caller waits to be told to go on, and the function was asked. */
  expectsContinue: boolean
}

/** One web call on an instance, streamed both ways. `done` is told once, and never before `start` has returned. */
export class WebExchange implements ConnectionUser {
  readonly #connections: KeptConnections
  readonly #call: WebRequest
  readonly #answer: CallerAnswer
  readonly #reader: WebAnswerReader
  #done: ((error: Error | undefined) => void) | undefined
  #connection: KeptConnection | undefined
  #body: RequestBody | undefined
  #isReused = false
  #continueTimer: NodeJS.Timeout | undefined

  constructor(
    connections: KeptConnections,
    call: WebRequest,
    answer: CallerAnswer,
    done: (error: Error | undefined) => void,
  ) {
    this.#connections = connections
    this.#call = call
    this.#answer = answer
    this.#done = done
    this.#reader = new WebAnswerReader(call.request.method ?? 'GET', answer)
  }

  /** Sends on a connection that lies idle, or on a new one. Without one not a byte was sent: `dial-failed`. */
  start(): void {
    const idle = this.#connections.takeIdle()
    this.#isReused = idle !== undefined
    if (idle !== undefined) this.#send(idle)
    else this.#dial()
  }

  /** Ends it from outside: the function sees its connection closed. */
  abort(why: Error): void {
    this.#fail(why)
  }

  #dial(): void {
    this.#isReused = false
    this.#connections.open().then(
      (fresh) => this.#send(fresh),
      (thrown: Error) => this.#fail(thrown),
    )
  }

  #send(connection: KeptConnection): void {
    if (this.#done === undefined) {
      connection.close()
      return
    }
    this.#connection = connection
    connection.user = this
    const { request, head, maxRequestBytes, expectsContinue } = this.#call
    this.#answer.source = connection
    this.#body = new RequestBody(request, head, connection, maxRequestBytes, (why) => this.#fail(why))
    if (expectsContinue) this.#continueTimer = setTimeout(() => this.#answer.goOn(), CONTINUE_AFTER_MS)
    this.#body.send()
  }

  onBytes(bytes: Buffer): void {
    try {
      this.#reader.push(bytes)
      this.#answer.flush()
    } catch (thrown) {
      this.#fail(thrown as Error)
      return
    }
    if (this.#reader.isOver) this.#complete()
  }

  onDrain(): void {
    this.#body?.onDrain()
  }

  onEnd(): void {
    if (this.#reader.end()) this.#complete()
    else this.#lost(closedEarly())
  }

  onClose(why: Error | undefined): void {
    this.#lost(why ?? closedEarly())
  }

  /**
   * The function closed a connection that lay idle just as it was used again: what does no more when done twice is sent anew
   * (RFC 9112 9.3.1). Anything else may have reached it, and is never sent twice.
   */
  #lost(why: Error): void {
    const { request } = this.#call
    const isSafe = IDEMPOTENT.has(request.method ?? '') && !hasBody(request)
    if (!this.#isReused || this.#reader.hasBegun || !isSafe) {
      this.#fail(why)
      return
    }
    this.#letGo()
    this.#dial()
  }

  #complete(): void {
    const connection = this.#connection
    const isWhole = this.#body?.isSent === true
    // What waited for the caller would wait for the next call too.
    if (this.#answer.isWaiting) connection?.resume()
    if (isWhole && connection !== undefined) this.#connections.release(connection, this.#reader.keepAliveMs)
    else this.#letGo()
    this.#settle(undefined)
  }

  #fail(error: Error): void {
    this.#letGo()
    this.#settle(error)
  }

  #letGo(): void {
    const connection = this.#connection
    this.#connection = undefined
    if (connection === undefined) return
    connection.user = undefined
    connection.close()
  }

  #settle(error: Error | undefined): void {
    clearTimeout(this.#continueTimer)
    this.#body?.stop()
    this.#answer.source = undefined
    const done = this.#done
    this.#done = undefined
    done?.(error)
  }
}

/** As node:http tells it. */
function closedEarly(): Error {
  return Object.assign(new Error('it was closed before the answer was complete'), { code: 'ECONNRESET' })
}
