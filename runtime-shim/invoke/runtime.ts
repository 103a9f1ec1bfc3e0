import type { IncomingMessage, ServerResponse } from 'node:http'
import type { InvocationRecord, InvocationResult, Version } from '../../api/index.ts'
import type { Credential } from '../../registry-auth/index.ts'

/** How the control plane has functions run: it knows versions and calls, never instances' engines. Implemented in runtime-shim/. */
export interface Runtime {
  /** One event call. Never throws for what happens in the function: the result carries the documented number. */
  invokeEvent(version: Version, call: EventCall): Promise<EventResult>
  /** Accepts a job: it is on disk when this settles, and begins later. Throws `body-too-large`, `queue-full`. */
  acceptJob(version: Version, call: JobCall): Promise<void>
  /** Ends a job: killed, or with `graceful` asked by SIGTERM first. Answers its record; undefined when no such job is unfinished. */
  cancelJob(requestId: string, graceful: boolean): Promise<InvocationRecord | undefined>
  /** The record so far (202) of a job that is not over. */
  unfinishedJob(requestId: string): InvocationRecord | undefined
  unfinishedJobs(namespace: string, name: string): InvocationRecord[]
  /** One web call, streamed both ways; answers `response` itself, errors included. `path` is what the function sees. */
  forwardWeb(version: Version, request: IncomingMessage, response: ServerResponse, call: WebCall): Promise<void>
  /** A version is (again) the one to serve: prewarm as its settings say, end instances of its older revisions when they are idle. */
  versionChanged(version: Version): void
  /** The function is gone: no new start; what runs ends. */
  functionDeleted(namespace: string, name: string): Promise<void>
  instances(namespace: string, name: string): InstanceView[]
  /** Ends one instance, or all of the function. Answers how many. */
  stopInstances(namespace: string, name: string, id?: string): Promise<number>
  /** How many instances are kept listening of those that `provisioned` asks for, and why not more. */
  provisioned(version: Version): { wanted: number; ready: number; problem?: string }
  counts(): Record<string, number>
}

export interface EventCall {
  requestId: string
  callerRequestId: string | null
  /** The event, or how to read it once the call is among the next to be served. */
  body: Buffer | (() => Promise<Buffer>)
  tail: boolean
  /** Aborts when the caller has gone and asked for its call to end then; null: an event runs on. */
  caller: AbortSignal | null
  /** Asked before bytes of the answer are kept in memory; false when there is no room for them: the call fails with 449. */
  hold: (bytes: number) => boolean
}

export interface JobCall {
  requestId: string
  callerRequestId: string | null
  body: Buffer
}

/** An InvocationResult whose `result` is JSON text still: it may have 6 MB, and nobody on the way looks into it. */
export interface EventResult {
  info: Omit<InvocationResult, 'result'>
  resultJson: string
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
  /** `call`, `prewarm`, `provisioned`, `job REQUEST-ID`. */
  reason: string
}

/** Told once for each finished call: kept by the store within 200 ms. */
export type RecordSink = (record: InvocationRecord) => void

/** What the runtime asks of the control plane to start an image. */
export interface PullCredentials {
  /** By our own grants, whether or not anything is fetched. Throws `image-not-allowed`. */
  check(version: Version): void
  /** A credential of its own for one download. Rejects with what its source says, or the signal's reason. */
  issue(version: Version, deadlineMs: number, signal: AbortSignal): Promise<PullCredential>
}
export interface PullCredential {
  /** Names it in the ledger, and its download at the supervisor. No secret. */
  id: string
  credential: Credential
  /** A start waits for the download. What it answers is told the instance that the start made. */
  joined(version: Version): (instance: string) => void
  /** The token server refuses it from now on. `failure`: the error code of a download that failed. */
  end(failure?: string): void
}
