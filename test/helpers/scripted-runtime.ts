import type { IncomingMessage, ServerResponse } from 'node:http'
import type { InvocationResult, Version } from '../../api/index.ts'
import type { UpgradingRuntime } from '../../control-plane/index.ts'
import type { EventCall, EventResult, InstanceView, WebCall } from '../../runtime-shim/invoke/runtime.ts'

/**
 * A double of the runtime for tests of the control plane alone: events are echoed, web calls say what arrived.
 * It keeps what it was told, so that a test can look.
 */
export class ScriptedRuntime implements UpgradingRuntime {
  readonly changed: Version[] = []
  readonly deleted: string[] = []
  readonly events: EventCall[] = []
  readonly webPaths: string[] = []
  lastRawHeaders: string[] = []
  instanceViews: InstanceView[] = []
  /** What the next event call ends with; default: the event itself, 200. */
  nextResult: Partial<InvocationResult> | undefined
  /** Headers of a web answer. */
  webHeaders: string[] = ['Content-Type', 'text/plain']
  /** Awaited by each event call before it answers. */
  gate: Promise<void> = Promise.resolve()

  async invokeEvent(_version: Version, call: EventCall): Promise<EventResult> {
    this.events.push(call)
    const body = typeof call.body === 'function' ? await call.body() : call.body
    await this.gate
    const { result, ...info }: InvocationResult = {
      requestId: call.requestId,
      statusCode: 200,
      result: JSON.parse(body.toString()),
      durationMs: 1.5,
      memoryBytes: 1024,
      coldStart: null,
      ...(call.tail ? { logTail: 'said' } : {}),
      ...this.nextResult,
    }
    this.nextResult = undefined
    return { info, resultJson: JSON.stringify(result) }
  }

  async acceptJob(): Promise<void> {}

  async cancelJob(): Promise<undefined> {}

  unfinishedJob(): undefined {}

  unfinishedJobs(): [] {
    return []
  }

  async forwardWeb(version: Version, request: IncomingMessage, response: ServerResponse, call: WebCall): Promise<void> {
    this.webPaths.push(call.path)
    this.lastRawHeaders = request.rawHeaders
    const chunks: Buffer[] = []
    for await (const chunk of request) chunks.push(chunk as Buffer)
    response.writeHead(200, [...this.webHeaders, 'X-Request-Id', call.requestId])
    response.end(
      `${version.function} ${request.method} ${call.path} ${call.forwardedPrefix} ${Buffer.concat(chunks).toString()}`,
    )
  }

  async forwardUpgrade(_version: Version, _request: IncomingMessage, response: ServerResponse): Promise<void> {
    response.socket?.end('HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n')
  }

  versionChanged(version: Version): void {
    this.changed.push(version)
  }

  async functionDeleted(namespace: string, name: string): Promise<void> {
    this.deleted.push(`${namespace}/${name}`)
  }

  instances(): InstanceView[] {
    return this.instanceViews
  }

  async stopInstances(_namespace: string, _name: string, id?: string): Promise<number> {
    const before = this.instanceViews.length
    this.instanceViews = id === undefined ? [] : this.instanceViews.filter((view) => view.id !== id)
    return before - this.instanceViews.length
  }

  provisioned({ settings }: Version): { wanted: number; ready: number } {
    return { wanted: settings.provisioned, ready: 0 }
  }

  counts(): Record<string, number> {
    return { ready: this.instanceViews.length }
  }
}
