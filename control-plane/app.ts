import { randomUUID } from 'node:crypto'
import { Readable } from 'node:stream'
import { type FastifyInstance, type FastifyReply, type FastifyRequest, fastify } from 'fastify'
import { checked, checkedText, ROUTES, type RouteDescriptor, type RouteName } from '../api/index.ts'
import { AppError, errnoOf, type Logger, messageOf, toAppError } from '../common/index.ts'
import type { AccessControl } from './access.ts'
import { answerProblem } from './gateway/answer.ts'
import type { ApiRoute, Call, Handlers } from './handlers.ts'

export interface AppOptions {
  handlers: Handlers
  access: AccessControl
  logger: Logger
}

/** Settings of a function may carry arguments of 128 KB each; nothing sensible is larger than this. */
const MAX_BODY_BYTES = 2 * 1024 * 1024
const BODY_TIMEOUT_MS = 30_000

/** The API as a fastify application made from the route descriptors. It never listens: the gateway hands it requests. */
export async function buildApp(options: AppOptions): Promise<FastifyInstance> {
  const app = fastify({
    logger: false,
    bodyLimit: MAX_BODY_BYTES,
    genReqId: () => randomUUID(),
    exposeHeadRoutes: false,
    forceCloseConnections: false,
  })
  app.removeContentTypeParser('text/plain')
  app.setNotFoundHandler((request, reply) => {
    const error = new AppError(`the API has no ${request.method} ${request.url.slice(0, 200)}`, {
      code: 'route-not-found',
      fault: 'user',
    })
    answerError(reply, error)
  })
  app.setErrorHandler((thrown, request, reply) => {
    const error = foreignError(thrown)
    if (error.fault === 'system') options.logger.error({ requestId: request.id, err: thrown }, 'API request failed')
    answerError(reply, error)
  })
  app.addHook('onRequest', boundBodyTime)
  for (const [name, descriptor] of Object.entries(ROUTES) as [RouteName, RouteDescriptor][]) {
    if (descriptor.servedBy === undefined) addRoute(app, name as ApiRoute, descriptor, options)
  }
  await app.ready()
  return app
}

function addRoute(app: FastifyInstance, name: ApiRoute, descriptor: RouteDescriptor, options: AppOptions): void {
  const handler = options.handlers[name] as (call: Call<ApiRoute>) => unknown
  app.route({
    method: descriptor.method,
    url: descriptor.path.replace(/\{(\w+)\}/g, ':$1'),
    // Before the body is read: who may not call is not listened to.
    preParsing: async (request) => {
      const { namespace } = request.params as { namespace?: string }
      request.identity = options.access.require(descriptor.access, request.headers.authorization, namespace)
    },
    handler: async (request, reply) => {
      const result = await handler(readCall(descriptor, request, reply))
      void reply.header('x-request-id', request.id)
      if (descriptor.answer.kind === 'lines') {
        return reply.type('application/x-ndjson').send(linesOf(result as AsyncIterable<unknown>))
      }
      if (descriptor.answer.kind === 'json') void reply.code(descriptor.answer.status)
      return reply.type('application/json').send(JSON.stringify(result))
    },
  })
}

declare module 'fastify' {
  interface FastifyRequest {
    identity: Call<ApiRoute>['identity']
  }
}

function readCall(descriptor: RouteDescriptor, request: FastifyRequest, reply: FastifyReply): Call<ApiRoute> {
  const { params, query, body } = descriptor
  const call = {
    params: params === undefined ? undefined : checked(params, request.params, 'the path'),
    query: query === undefined ? undefined : checkedText(query, { ...(request.query as object) }, 'the query'),
    body: body === undefined ? undefined : checked(body, request.body ?? {}, 'the body'),
    identity: request.identity,
    requestId: request.id,
    signal: goneSignal(reply),
  }
  return call as Call<ApiRoute>
}

function goneSignal(reply: FastifyReply): AbortSignal {
  const controller = new AbortController()
  reply.raw.once('close', () => {
    if (!reply.raw.writableFinished) controller.abort(new Error('the caller has gone'))
  })
  return controller.signal
}

async function boundBodyTime(request: FastifyRequest): Promise<void> {
  const { raw } = request
  const timer = setTimeout(() => {
    if (!raw.complete) raw.socket.destroy()
  }, BODY_TIMEOUT_MS)
  raw.once('end', () => clearTimeout(timer)).once('close', () => clearTimeout(timer))
}

function linesOf(documents: AsyncIterable<unknown>): Readable {
  return Readable.from(
    (async function* lines() {
      for await (const document of documents) yield `${JSON.stringify(document)}\n`
    })(),
    { objectMode: false },
  )
}

function answerError(reply: FastifyReply, error: AppError): void {
  reply.hijack()
  answerProblem(reply.request.raw, reply.raw, error, reply.request.id)
}

/** fastify's own errors in our words. */
function foreignError(thrown: unknown): AppError {
  const refusal = (code: string): AppError => new AppError(messageOf(thrown), { code, fault: 'user', cause: thrown })
  switch (errnoOf(thrown) ?? '') {
    case 'FST_ERR_CTP_BODY_TOO_LARGE':
      return new AppError(`the body is larger than ${MAX_BODY_BYTES / 1024 / 1024} MB`, {
        code: 'body-too-large',
        fault: 'user',
      })
    case 'FST_ERR_CTP_INVALID_MEDIA_TYPE':
      return refusal('body-type')
    case 'FST_ERR_CTP_EMPTY_JSON_BODY':
    case 'FST_ERR_CTP_INVALID_JSON_BODY':
    case 'FST_ERR_CTP_INVALID_CONTENT_LENGTH':
      return refusal('request-invalid')
    default:
      return thrown instanceof SyntaxError ? refusal('request-invalid') : toAppError(thrown)
  }
}
