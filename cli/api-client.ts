import { request as httpRequest, type IncomingMessage, type RequestOptions } from 'node:http'
import { request as httpsRequest } from 'node:https'
import { createInterface } from 'node:readline'
import {
  type AnswerOf,
  type BodyOf,
  ERRORS,
  InvocationResult,
  type ParamsOf,
  Problem,
  pathOf,
  type QueryOf,
  ROUTES,
  type RouteName,
  type Routes,
  violationsOf,
} from '../api/index.ts'
import { AppError, errnoOf, messageOf } from '../common/index.ts'
import type { Connection } from './connection.ts'

type Given<K extends string, V> = V extends undefined ? { [P in K]?: undefined } : { [P in K]: V }
/** What a route takes: only the parts that its descriptor has. */
export type InputOf<N extends RouteName> = Given<'params', ParamsOf<N>> &
  Given<'body', BodyOf<N>> & { query?: QueryOf<N> }

type NameOf<K extends string> = { [N in RouteName]: Routes[N]['answer'] extends { kind: K } ? N : never }[RouteName]
export type JsonRoute = Exclude<NameOf<'json'>, 'invoke'>
export type LinesRoute = NameOf<'lines'>

const MAX_ANSWER_BYTES = 64 * 1024 * 1024

/** The API of one platform, typed by the route descriptors. */
export class ApiClient {
  readonly #connection: Connection
  readonly #signal: AbortSignal

  constructor(connection: Connection, signal: AbortSignal) {
    this.#connection = connection
    this.#signal = signal
  }

  get url(): string {
    return this.#connection.url
  }

  /** Throws the error that the API answers, with its code; `server-unreachable`; `answer-invalid`. */
  async call<N extends JsonRoute>(name: N, input: InputOf<N>): Promise<AnswerOf<N>> {
    const answer = await this.#open(name, input)
    const value = await readJson(answer)
    if ((answer.statusCode ?? 500) >= 400) throw errorFrom(value, answer, this.url)
    return value as AnswerOf<N>
  }

  /** Documents one by one, as they come. */
  async *lines<N extends LinesRoute>(name: N, input: InputOf<N>): AsyncGenerator {
    const answer = await this.#open(name, input)
    if ((answer.statusCode ?? 500) >= 400) throw errorFrom(await readJson(answer), answer, this.url)
    for await (const line of createInterface({ input: answer, crlfDelay: Infinity })) {
      if (line !== '') yield JSON.parse(line)
    }
  }

  /** An event call: its result whatever the number, so that a failed function is an answer and not an error. */
  async invoke(input: {
    params: ParamsOf<'invoke'>
    query: QueryOf<'invoke'>
    event: Buffer
  }): Promise<InvocationResult> {
    const answer = await this.#open('invoke', { ...input, raw: input.event })
    const value = await readJson(answer)
    if (violationsOf(InvocationResult, value).length === 0) return value as InvocationResult
    throw errorFrom(value, answer, this.url)
  }

  #open(name: RouteName, input: AnyInput): Promise<IncomingMessage> {
    const query = new URLSearchParams()
    for (const [key, value] of Object.entries(input.query ?? {})) query.set(key, String(value))
    const search = query.size === 0 ? '' : `?${query.toString()}`
    const body = input.raw ?? (input.body === undefined ? undefined : Buffer.from(JSON.stringify(input.body)))
    const options: RequestOptions = {
      method: ROUTES[name].method,
      signal: this.#signal,
      headers: {
        authorization: `Bearer ${this.#connection.token}`,
        ...(body === undefined ? {} : { 'content-type': 'application/json', 'content-length': body.length }),
      },
    }
    const target = `${this.url}${pathOf(name, input.params)}${search}`
    const send = target.startsWith('https:') ? httpsRequest : httpRequest
    const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>()
    const request = send(target, options, resolve)
    request.once('error', (error) => reject(this.#signal.aborted ? this.#signal.reason : unreachable(error, this.url)))
    request.end(body)
    return promise
  }
}

interface AnyInput {
  params?: Record<string, string> | undefined
  query?: Readonly<Record<string, string | number | boolean>> | undefined
  body?: unknown
  raw?: Buffer
}

async function readJson(answer: IncomingMessage): Promise<unknown> {
  const chunks: Buffer[] = []
  let length = 0
  for await (const chunk of answer as AsyncIterable<Buffer>) {
    length += chunk.length
    if (length > MAX_ANSWER_BYTES) throw notOurs('the answer is larger than 64 MB')
    chunks.push(chunk)
  }
  try {
    return JSON.parse(Buffer.concat(chunks).toString('utf8'))
  } catch {
    return undefined
  }
}

/** The API's own error again, code and all; its request id is kept for whoever looks into the server's log. */
function errorFrom(value: unknown, answer: IncomingMessage, url: string): AppError {
  if (violationsOf(Problem, value).length > 0)
    throw notOurs(`${url} answered ${answer.statusCode} in a form that is not ours`)
  const { code, detail, hint, requestId, retryable, details } = value as Problem
  const known = Object.hasOwn(ERRORS, code) ? code : 'internal'
  const advice = hint === undefined ? {} : { hint }
  return new AppError(detail, { code: known, retryable, details: { ...details, requestId }, ...advice })
}

function notOurs(message: string): AppError {
  return new AppError(message, { code: 'answer-invalid', fault: 'dependency', hint: 'see what listens there' })
}

function unreachable(error: Error, url: string): AppError {
  const refused = errnoOf(error) === 'ECONNREFUSED'
  return new AppError(`no platform answers at ${url}: ${refused ? 'connection refused' : messageOf(error)}`, {
    code: 'server-unreachable',
    fault: 'dependency',
    retryable: true,
    hint: 'start it with "slipway up", or look at it with "slipway doctor"',
    cause: error,
  })
}
