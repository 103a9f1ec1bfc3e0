import type { AnswerOf, BodyOf, ParamsOf, QueryOf, RouteName, Routes } from '../api/index.ts'
import type { Identity } from './access.ts'

/** Routes that fastify serves; the others are the gateway's. */
export type ApiRoute = {
  [N in RouteName]: Routes[N] extends { servedBy: 'gateway' } ? never : N
}[RouteName]

/** One request of a route, checked against its descriptor. */
export interface Call<N extends RouteName> {
  params: ParamsOf<N>
  query: QueryOf<N>
  body: BodyOf<N>
  identity: Identity
  requestId: string
  /** Aborted when the caller has gone before the answer was complete. */
  signal: AbortSignal
}

export type Handler<N extends ApiRoute> = (call: Call<N>) => AnswerOf<N> | Promise<AnswerOf<N>>
export type Handlers = { [N in ApiRoute]: Handler<N> }
