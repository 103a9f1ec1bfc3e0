import { text } from 'node:stream/consumers'
import { Caller } from './caller.ts'

/** What a load is, as JSON on stdin (a request carries a token, which is for no command line). */
export interface LoadRequest {
  port: number
  /** Base64 of the bytes of one request. */
  request: string
  connections: number
  calls: number
}

export interface LoadResult {
  calls: number
  /** Answers other than 200. */
  failed: number
  durationMs: number
}

// A process of its own that calls as fast as the answers come, on so many kept-alive connections; prints a LoadResult.

const { port, request, connections, calls } = JSON.parse(await text(process.stdin)) as LoadRequest
const bytes = Buffer.from(request, 'base64')
let left = calls
let failed = 0

async function callUntilDone(caller: Caller): Promise<void> {
  while (left > 0) {
    left -= 1
    const { status } = await caller.call(bytes)
    if (status !== 200) failed += 1
  }
  caller.close()
}

const callers = await Promise.all(Array.from({ length: connections }, () => Caller.open(port)))
const began = performance.now()
await Promise.all(callers.map(callUntilDone))
const result: LoadResult = { calls, failed, durationMs: performance.now() - began }
console.log(JSON.stringify(result))
