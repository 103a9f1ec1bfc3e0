import type { Platform } from './platform.ts'

export interface CallAnswer {
  status: number
  requestId: string
  statusCode: number
  result: unknown
  durationMs: number
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

  request(method: string, path: string, body?: string, headers: Record<string, string> = {}): Promise<Response> {
    const { url, token } = this.#platform
    return fetch(`${url}${path}`, {
      method,
      headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json', ...headers },
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

  async call(name: string, event: unknown): Promise<CallAnswer> {
    return this.callRaw(name, JSON.stringify(event))
  }

  async callRaw(name: string, body: string, headers: Record<string, string> = {}): Promise<CallAnswer> {
    const path = `/v1/namespaces/default/functions/${name}/invocations`
    const response = await this.request('POST', path, body, headers)
    return { ...((await response.json()) as Omit<CallAnswer, 'status'>), status: response.status }
  }

  async instances(name: string): Promise<InstanceRow[]> {
    const { instances } = await this.#json<{ instances: InstanceRow[] }>(
      'GET',
      `/v1/namespaces/default/functions/${name}/instances`,
    )
    return instances
  }

  /** What the function's log has, lines of the platform included. */
  async log(name: string): Promise<string[]> {
    const response = await this.request('GET', `/v1/namespaces/default/functions/${name}/logs`)
    const lines = (await response.text()).trim().split('\n').filter(Boolean)
    return lines.map((line) => (JSON.parse(line) as { line: string }).line)
  }
}
