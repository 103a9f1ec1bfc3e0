import { parentPort } from 'node:worker_threads'
import { isJsonHere } from './json-check.ts'

// The thread that reads large events.
parentPort?.on('message', ({ id, bytes }: { id: number; bytes: Uint8Array }) => {
  parentPort?.postMessage({ id, isJson: isJsonHere(bytes) })
})
