import { Worker } from 'node:worker_threads'
import { AppError, fromPlainError } from '../../common/index.ts'
import type { Contents, Opened, OperationName, Operations, WorkerAnswer } from './messages.ts'

interface Waiting {
  resolve: (result: never) => void
  reject: (error: Error) => void
}

/** The server's side of the writer thread: each request settles after the commit that holds it. */
export class Writer {
  readonly #worker: Worker
  readonly #waiting = new Map<number, Waiting>()
  #nextId = 1
  #ended: AppError | undefined

  private constructor(worker: Worker) {
    this.#worker = worker
    worker.on('message', (message: WorkerAnswer) => this.#settle(message))
    worker.on('error', (error) => this.#end('the writer thread failed', error))
    worker.on('exit', () => this.#end('the store is closed'))
  }

  /** Starts the thread and reads everything that the snapshot begins with. */
  static async open(path: string): Promise<{ writer: Writer; contents: Contents }> {
    const worker = new Worker(new URL('./worker.ts', import.meta.url), { workerData: { path } })
    const { promise, resolve, reject } = Promise.withResolvers<Opened>()
    worker.once('message', resolve)
    worker.once('error', reject)
    const opened = await promise.finally(() => worker.off('error', reject))
    if ('failed' in opened) {
      await worker.terminate()
      throw fromPlainError(opened.failed)
    }
    return { writer: new Writer(worker), contents: opened.opened }
  }

  request<O extends OperationName>(op: O, args: Operations[O]['args']): Promise<Operations[O]['result']> {
    if (this.#ended !== undefined) return Promise.reject(this.#ended)
    const id = this.#nextId
    this.#nextId += 1
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject })
      this.#worker.postMessage({ id, op, args })
    })
  }

  #settle(message: WorkerAnswer): void {
    const waiting = this.#waiting.get(message.id)
    this.#waiting.delete(message.id)
    if (waiting === undefined) return
    if ('error' in message) waiting.reject(fromPlainError(message.error))
    else waiting.resolve(message.result as never)
  }

  #end(why: string, cause?: unknown): void {
    this.#ended ??= new AppError(`${why}; it takes no more writes`, { code: 'store-closed', retryable: true, cause })
    for (const waiting of this.#waiting.values()) waiting.reject(this.#ended)
    this.#waiting.clear()
  }

  async close(): Promise<void> {
    if (this.#ended !== undefined) return
    await this.request('close', {})
    await this.#worker.terminate()
  }
}
