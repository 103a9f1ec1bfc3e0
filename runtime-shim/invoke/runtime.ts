import type { IncomingMessage, ServerResponse } from 'node:http'
import type { InvocationRecord, InvocationResult, Version } from '../../api/index.ts'
import type { Credential } from '../../registry-auth/index.ts'

/** How the control plane has functions run: it knows versions and calls, never instances' engines. Implemented in runtime-shim/. */
export interface Runtime {
  /** One event call. Never throws for what happens in the function: the result carries the documented number. */
  invokeEvent(version: Version, call: EventCall): Promise<InvocationResult>
  /** One web call, streamed both ways; answers `response` itself, errors included. `path` is what the function sees. */
  forwardWeb(version: Version, request: IncomingMessage, response: ServerResponse, call: WebCall): Promise<void>
  /** A version is (again) the one to serve: prewarm as its settings say, end instances of its older revisions when they are idle. */
  versionChanged(version: Version): void
  /** The function is gone: no new start; what runs ends. */
  functionDeleted(namespace: string, name: string): Promise<void>
  instances(namespace: string, name: string): InstanceView[]
  /** Ends one instance, or all of the function. Answers how many. */
  stopInstances(namespace: string, name: string, id?: string): Promise<number>
  counts(): Record<string, number>
}

export interface EventCall {
  requestId: string
  callerRequestId: string | null
  body: Buffer
  tail: boolean
  /** Aborted when the caller has gone; an event call runs on. */
  signal: AbortSignal
}

export interface WebCall {
  requestId: string
  callerRequestId: string | null
  path: string
  forwardedPrefix: string | null
}

export interface InstanceView {
  id: string
  version: string
  state: 'starting' | 'created' | 'ready' | 'busy' | 'draining'
  ageMs: number
  memoryBytes: number
  calls: number
  /** `call`, `prewarm`. */
  reason: string
}

/** Told once for each finished call: kept by the store within 200 ms. */
export type RecordSink = (record: InvocationRecord) => void

/** What the runtime asks of the control plane to start an image. */
export interface PullCredentials {
  /** A credential of its own for one download; `end` makes the token server refuse it from then on. */
  issue(version: Version, deadlineMs: number): PullCredential
}
export interface PullCredential {
  credential: Credential
  end(): void
}
