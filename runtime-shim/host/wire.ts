import type { Socket } from 'node:net'
import { AppError, type PlainError, type Shape, toPlainError } from '../../common/index.ts'
import { EVENT, EVENTS, MAX_LINE_BYTES, OPERATIONS, type Operation, REQUEST, RESPONSE } from './port.ts'

/** Throws `port-message` naming the first field that does not fit. */
export function checkMessage(what: string, shape: Shape, value: unknown): void {
  const problem = shape.problem(value)
  if (problem !== undefined) throw new AppError(`${what} does not fit the port: ${problem}`, { code: 'port-message' })
}

export type Envelope =
  | { kind: 'request'; id: number; op: Operation; args: unknown }
  | { kind: 'response'; id: number; ok?: unknown; error?: PlainError }
  | { kind: 'event'; event: keyof typeof EVENTS; data: unknown }

/** Parses and checks one line: which kind of message it is, and for requests and events that the body fits its schema. */
export function parseLine(line: string): Envelope {
  const message: unknown = JSON.parse(line)
  if (typeof message !== 'object' || message === null)
    throw new AppError('message is no object', { code: 'port-message' })
  if ('op' in message) {
    checkMessage('request', REQUEST, message)
    const { id, op, args } = message as { id: number; op: string; args: unknown }
    if (!Object.hasOwn(OPERATIONS, op)) throw new AppError(`unknown operation "${op}"`, { code: 'port-message' })
    checkMessage(`arguments of ${op}`, OPERATIONS[op as Operation].args, args)
    return { kind: 'request', id, op: op as Operation, args }
  }
  if ('event' in message) {
    checkMessage('event', EVENT, message)
    const { event, data } = message as { event: string; data: unknown }
    if (!Object.hasOwn(EVENTS, event)) throw new AppError(`unknown event "${event}"`, { code: 'port-message' })
    checkMessage(`event ${event}`, EVENTS[event as keyof typeof EVENTS], data)
    return { kind: 'event', event: event as keyof typeof EVENTS, data }
  }
  checkMessage('response', RESPONSE, message)
  return { kind: 'response', ...(message as { id: number; ok?: unknown; error?: PlainError }) }
}

/** Splits a socket's bytes into lines; a line over MAX_LINE_BYTES or one that does not parse ends the connection. */
export function readLines(socket: Socket, onLine: (line: string) => void, onBroken: (why: Error) => void): void {
  const rest: Buffer[] = []
  let restBytes = 0
  socket.on('data', (chunk: Buffer) => {
    let from = 0
    for (let end = chunk.indexOf(10, from); end !== -1; end = chunk.indexOf(10, from)) {
      rest.push(chunk.subarray(from, end))
      const line = Buffer.concat(rest).toString('utf8')
      rest.length = 0
      restBytes = 0
      from = end + 1
      try {
        onLine(line)
      } catch (thrown) {
        onBroken(thrown instanceof Error ? thrown : new Error(String(thrown)))
        socket.destroy()
        return
      }
    }
    rest.push(chunk.subarray(from))
    restBytes += chunk.length - from
    if (restBytes > MAX_LINE_BYTES) {
      onBroken(new AppError('line is longer than the port allows', { code: 'port-message' }))
      socket.destroy()
    }
  })
}

/**
 * Throws `port-message` for a message that the other side would have to refuse for its length: it would end the connection, and what was
 * not answered on one connection is asked again on the next, for ever.
 */
export function encodeLine(message: object): string {
  const line = `${JSON.stringify(message)}\n`
  const bytes = Buffer.byteLength(line)
  if (bytes <= MAX_LINE_BYTES) return line
  throw new AppError(`a message of ${bytes} bytes does not fit the port, which takes ${MAX_LINE_BYTES}`, {
    code: 'port-message',
  })
}

export function writeLine(socket: Socket, message: object): void {
  if (!socket.destroyed) socket.write(encodeLine(message))
}

const MAX_MESSAGE = 16_384
const MAX_HINT = 4_096

/** An error in a form that always fits the port: images and commands of users are quoted in messages. */
export function portError(thrown: unknown): PlainError {
  const { hint, ...error } = toPlainError(thrown)
  const short = { ...error, message: error.message.slice(0, MAX_MESSAGE), details: boundedDetails(error.details) }
  return hint === undefined ? short : { ...short, hint: hint.slice(0, MAX_HINT) }
}

function boundedDetails(details: Record<string, unknown>): Record<string, unknown> {
  try {
    return JSON.stringify(details).length > MAX_MESSAGE ? {} : details
  } catch {
    return {}
  }
}

/** The descriptor number of a connected socket (Node keeps it on the handle). */
export function descriptorOf(socket: Socket): number {
  const handle = (socket as unknown as { _handle?: { fd?: number } })._handle
  if (handle?.fd === undefined || handle.fd < 0) throw new AppError('socket has no descriptor', { code: 'internal' })
  return handle.fd
}
