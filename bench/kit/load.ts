import { text } from 'node:stream/consumers'
import { setTimeout as sleep } from 'node:timers/promises'
import { Caller } from './caller.ts'

/** What a load is, as JSON on stdin (a request carries a token, which is for no command line). */
export interface LoadRequest {
  port: number
  /** Base64 of the bytes of one request. */
  request: string
  connections: number
  calls: number
  /** Of all connections together; absent: as fast as the answers come. */
  callsPerSecond?: number
}

export interface LoadResult {
  calls: number
  /** Answers other than 200. */
  failed: number
  durationMs: number
  p50Ms: number
  p99Ms: number
}

// A process of its own that calls on so many kept-alive connections; prints a LoadResult.

const { port, request, connections, calls, callsPerSecond } = JSON.parse(await text(process.stdin)) as LoadRequest
const bytes = Buffer.from(request, 'base64')
let left = calls
let failed = 0
const tookMs: number[] = []

/** When the next call is due: one that comes late counts from when it should have begun, or a stall would hide those behind it. */
async function due(number: number): Promise<number> {
  if (callsPerSecond === undefined) return performance.now()
  const dueMs = began + (number * 1_000) / callsPerSecond
  const waitMs = dueMs - performance.now()
  if (waitMs > 0) await sleep(waitMs)
  // A timer comes up to a millisecond late, which is no latency of anybody's.
  return waitMs > 0 ? performance.now() : dueMs
}

async function callUntilDone(caller: Caller): Promise<void> {
  while (left > 0) {
    const number = calls - left
    left -= 1
    const fromMs = await due(number)
    const { status } = await caller.call(bytes)
    tookMs.push(performance.now() - fromMs)
    if (status !== 200) failed += 1
  }
  caller.close()
}

const callers = await Promise.all(Array.from({ length: connections }, () => Caller.open(port)))
const began = performance.now()
await Promise.all(callers.map(callUntilDone))
const durationMs = performance.now() - began
const sorted = tookMs.toSorted((a, b) => a - b)
const share = (part: number): number => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))] ?? 0
const result: LoadResult = { calls, failed, durationMs, p50Ms: share(0.5), p99Ms: share(0.99) }
console.log(JSON.stringify(result))
