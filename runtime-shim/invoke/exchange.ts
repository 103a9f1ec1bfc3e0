import { AppError } from '../../common/index.ts'
import type { ConnectionUser, KeptConnection, KeptConnections } from '../instances/index.ts'
import { AnswerReader, type EventAnswer } from './answer-reader.ts'

export interface EventMessage {
  /** Request line and header lines with their line ends, without the length of the body. */
  head: string
  body: Buffer
  /** Asked before bytes of the answer are kept; false when there is no room for them. */
  hold: (bytes: number) => boolean
}

/** How an exchange ended: exactly one of the two is given. */
export type ExchangeDone = (error: Error | undefined, answer: EventAnswer | undefined) => void

/** One event sent to an instance and its whole answer. `done` is told once, and never before `start` has returned. */
export class EventExchange implements ConnectionUser {
  readonly #connections: KeptConnections
  readonly #message: EventMessage
  readonly #reader = new AnswerReader()
  #done: ExchangeDone | undefined
  #connection: KeptConnection | undefined
  #held = 0

  constructor(connections: KeptConnections, message: EventMessage, done: ExchangeDone) {
    this.#connections = connections
    this.#message = message
    this.#done = done
  }

  /** Sends on a connection that lies idle, or on a new one. Without one not a byte was sent: `dial-failed`. */
  start(): void {
    const idle = this.#connections.takeIdle()
    if (idle !== undefined) this.#send(idle)
    else
      this.#connections.open().then(
        (fresh) => this.#send(fresh),
        (thrown: Error) => this.#fail(thrown),
      )
  }

  /** Ends it from outside: the function sees its connection closed. */
  abort(why: Error): void {
    this.#fail(why)
  }

  #send(connection: KeptConnection): void {
    if (this.#done === undefined) {
      connection.close()
      return
    }
    this.#connection = connection
    connection.user = this
    const { head, body } = this.#message
    connection.send(`${head}content-length: ${body.length}\r\n\r\n`, body)
  }

  onBytes(bytes: Buffer): void {
    try {
      const answer = this.#reader.push(bytes)
      this.#hold(this.#reader.bodyBytes)
      if (answer !== undefined) this.#complete(answer)
    } catch (thrown) {
      this.#fail(thrown as Error)
    }
  }

  onEnd(): void {
    const answer = this.#reader.end()
    if (answer === undefined) this.#fail(closedEarly())
    else this.#complete(answer)
  }

  onClose(why: Error | undefined): void {
    this.#fail(why ?? closedEarly())
  }

  #hold(bytes: number): void {
    if (bytes === this.#held) return
    if (!this.#message.hold(bytes - this.#held)) throw noRoom()
    this.#held = bytes
  }

  #complete(answer: EventAnswer): void {
    const { keepAliveMs } = this.#reader
    if (this.#connection !== undefined) this.#connections.release(this.#connection, keepAliveMs)
    this.#settle(undefined, answer)
  }

  #fail(error: Error): void {
    if (this.#connection !== undefined) {
      this.#connection.user = undefined
      this.#connection.close()
    }
    this.#settle(error, undefined)
  }

  #settle(error: Error | undefined, answer: EventAnswer | undefined): void {
    const done = this.#done
    this.#done = undefined
    done?.(error, answer)
  }
}

/** As node:http tells it. */
function closedEarly(): Error {
  return Object.assign(new Error('it was closed before the answer was complete'), { code: 'ECONNRESET' })
}

function noRoom(): AppError {
  return new AppError('the answer finds no room: the platform holds as many bodies as its memory budget allows', {
    code: 'overloaded',
    retryable: true,
  })
}
