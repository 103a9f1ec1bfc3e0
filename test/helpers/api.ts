import type { InvocationRecord } from '../../api/index.ts'
import type { Platform } from './platform.ts'

export interface CallAnswer {
  status: number
  /** `X-Slipway-Status`. */
  header: string | null
  requestId: string
  statusCode: number
  result: unknown
  durationMs: number
  logTail?: string
  coldStart: { totalMs: number; phases: Record<string, number> } | null
}

/** What a failed call has as its result. */
export interface FailedResult {
  errorCode: number
  errorMessage: string
  requestId: string
  statusCode: number
}

export interface InstanceRow {
  id: string
  state: string
  calls: number
  reason: string
}

/** The HTTP API of a platform, as an SDK would use it: quicker than a CLI process for each call. */
export class Api {
  readonly #platform: Platform

  constructor(platform: Platform) {
    this.#platform = platform
  }

  request(
    method: string,
    path: string,
    body?: string,
    headers: Record<string, string> = {},
    signal: AbortSignal | null = null,
  ): Promise<Response> {
    const { url, token } = this.#platform
    return fetch(`${url}${path}`, {
      method,
      signal,
      headers: {
        authorization: `Bearer ${token}`,
        ...(body === undefined ? {} : { 'content-type': 'application/json' }),
        ...headers,
      },
      ...(body === undefined ? {} : { body }),
    })
  }

  async #json<T>(method: string, path: string, body?: unknown): Promise<T> {
    const response = await this.request(method, path, body === undefined ? undefined : JSON.stringify(body))
    const text = await response.text()
    if (!response.ok) throw new Error(`${method} ${path} answered ${response.status}: ${text}`)
    return JSON.parse(text) as T
  }

  deploy(name: string, image: string, settings: Record<string, unknown> = {}) {
    const path = `/v1/namespaces/default/functions/${name}`
    return this.#json<{ revision: number; image: { digest: string; platformDigest: string } }>('PUT', path, {
      image,
      settings,
    })
  }

  /** Ends all instances of a function. */
  stop(name: string): Promise<{ stopped: number }> {
    return this.#json('DELETE', `/v1/namespaces/default/functions/${name}/instances`)
  }

  async remove(name: string): Promise<void> {
    await this.#json('DELETE', `/v1/namespaces/default/functions/${name}`)
  }

  async call(name: string, event: unknown): Promise<CallAnswer> {
    return this.callRaw(name, JSON.stringify(event))
  }

  /** `name` may have a query behind it. */
  async callRaw(
    name: string,
    body: string,
    headers: Record<string, string> = {},
    { namespace = 'default', signal = null }: { namespace?: string; signal?: AbortSignal | null } = {},
  ): Promise<CallAnswer> {
    const [only = '', query] = name.split('?', 2)
    const path = `/v1/namespaces/${namespace}/functions/${only}/invocations${query === undefined ? '' : `?${query}`}`
    const response = await this.request('POST', path, body, headers, signal)
    const answer = (await response.json()) as Omit<CallAnswer, 'status' | 'header'>
    return { ...answer, status: response.status, header: response.headers.get('x-slipway-status') }
  }

  async instances(name: string, namespace = 'default'): Promise<InstanceRow[]> {
    const { instances } = await this.#json<{ instances: InstanceRow[] }>(
      'GET',
      `/v1/namespaces/${namespace}/functions/${name}/instances`,
    )
    return instances
  }

  put(path: string, body: unknown): Promise<unknown> {
    return this.#json('PUT', path, body)
  }

  /** Records of the function's calls, newest first. */
  async records(name: string): Promise<InvocationRecord[]> {
    const path = `/v1/namespaces/default/functions/${name}/invocations`
    return (await this.#json<{ invocations: InvocationRecord[] }>('GET', path)).invocations
  }

  /** What the function's log has, lines of the platform included. */
  async log(name: string, requestId?: string): Promise<string[]> {
    const query = requestId === undefined ? '' : `?requestId=${requestId}`
    const response = await this.request('GET', `/v1/namespaces/default/functions/${name}/logs${query}`)
    const lines = (await response.text()).trim().split('\n').filter(Boolean)
    return lines.map((line) => (JSON.parse(line) as { line: string }).line)
  }
}
