import { isUtf8 } from 'node:buffer'
import { Worker } from 'node:worker_threads'

/** Reading more than this as JSON would hold up every other call: 6 MB take 30 to 100 ms. */
const LARGE_BYTES = 256 * 1024
const WORKER_HEAP_MB = 512

/** Whether bytes are one JSON value in UTF-8; of large ones a thread of its own finds out. */
export class JsonCheck {
  #worker: Worker | undefined
  readonly #waiting = new Map<number, (isJson: boolean) => void>()
  #next = 1

  isJson(bytes: Buffer): boolean | Promise<boolean> {
    return bytes.length <= LARGE_BYTES ? isJsonHere(bytes) : this.#ask(bytes)
  }

  async close(): Promise<void> {
    await this.#worker?.terminate()
  }

  #ask(bytes: Buffer): Promise<boolean> {
    const worker = (this.#worker ??= this.#start())
    const id = this.#next
    this.#next += 1
    const { promise, resolve } = Promise.withResolvers<boolean>()
    this.#waiting.set(id, resolve)
    worker.postMessage({ id, bytes })
    return promise
  }

  #start(): Worker {
    const resourceLimits = { maxOldGenerationSizeMb: WORKER_HEAP_MB }
    const worker = new Worker(new URL('./json-worker.ts', import.meta.url), { resourceLimits })
    worker.unref()
    worker.on('message', ({ id, isJson }: { id: number; isJson: boolean }) => this.#settle(id, isJson))
    // What takes all of its memory to be read is refused, with those that waited behind it.
    worker.on('error', () => undefined)
    worker.on('exit', () => {
      this.#worker = undefined
      for (const id of this.#waiting.keys()) this.#settle(id, false)
    })
    return worker
  }

  #settle(id: number, isJson: boolean): void {
    this.#waiting.get(id)?.(isJson)
    this.#waiting.delete(id)
  }
}

export function isJsonHere(bytes: Uint8Array): boolean {
  if (!isUtf8(bytes)) return false
  try {
    JSON.parse(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('utf8'))
    return true
  } catch {
    return false
  }
}
