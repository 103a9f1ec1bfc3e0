import { type ChildProcess, spawn } from 'node:child_process'
import { AppError, fromPlainError, type Logger } from '../common/index.ts'
import {
  asAnswer,
  type CollectFigures,
  type PullFigures,
  type WorkerAnswer,
  type WorkerTask,
} from './worker-protocol.ts'

type Distribute<T> = T extends unknown ? Omit<T, 'id'> : never
type NewTask = Distribute<WorkerTask>
type Fields<Op> = Omit<Extract<WorkerTask, { op: Op }>, 'id' | 'op'>

interface Outstanding {
  task: WorkerTask
  deaths: number
  resolve(answer: WorkerAnswer): void
  reject(reason: unknown): void
}

/** A task during which the worker died this often is what kills it. */
const MAX_DEATHS = 3
const MAX_PAUSE_MS = 2_000

/** The content worker as its store sees it: started when there is work, started again when it dies, ended when idle. */
export class WorkerClient {
  readonly #command: readonly string[]
  readonly #idleMs: number
  readonly #log: Logger
  readonly #outstanding = new Map<number, Outstanding>()
  #child: ChildProcess | undefined
  #nextId = 1
  #deathsInARow = 0
  #idle: NodeJS.Timeout | undefined
  #closed = false

  /** `command`: program and arguments; see worker-command.ts. */
  constructor(command: readonly string[], idleMs: number, log: Logger) {
    this.#command = command
    this.#idleMs = idleMs
    this.#log = log
  }

  /** The worker's process id while there is one. */
  get pid(): number | undefined {
    return this.#child?.pid
  }

  async pull(task: Fields<'pull'>, signal: AbortSignal): Promise<PullFigures> {
    const answer = await this.#request({ op: 'pull', ...task }, signal)
    if ('pulled' in answer) return answer.pulled
    throw unexpected()
  }

  async add(task: Fields<'add'>, signal: AbortSignal): Promise<void> {
    await this.#request({ op: 'add', ...task }, signal)
  }

  async collect(limits: { maxBytes: number; minAgeMs: number }): Promise<CollectFigures> {
    const answer = await this.#request({ op: 'collect', ...limits })
    if ('collected' in answer) return answer.collected
    throw unexpected()
  }

  /** Ends the worker; what it was doing fails with `content-closed`. Idempotent. */
  async close(): Promise<void> {
    this.#closed = true
    const closed = new AppError('the content store was closed', { code: 'content-closed' })
    for (const waiting of this.#outstanding.values()) waiting.reject(closed)
    this.#outstanding.clear()
    await this.#end()
  }

  #request(newTask: NewTask, signal?: AbortSignal): Promise<WorkerAnswer> {
    signal?.throwIfAborted()
    if (this.#closed) return Promise.reject(new AppError('the content store was closed', { code: 'content-closed' }))
    const task: WorkerTask = { ...newTask, id: this.#nextId++ }
    const { promise, resolve, reject } = Promise.withResolvers<WorkerAnswer>()
    this.#outstanding.set(task.id, { task, deaths: 0, resolve, reject })
    const onAbort = (): void => {
      this.#send({ op: 'cancel', id: task.id })
      this.#settle(task.id)?.reject(signal?.reason)
    }
    signal?.addEventListener('abort', onAbort, { once: true })
    if (this.#child === undefined) this.#resume()
    else this.#send(task)
    this.#stayAwake()
    return promise.finally(() => signal?.removeEventListener('abort', onAbort))
  }

  #start(): ChildProcess {
    const [file = '', ...args] = this.#command
    const child = spawn(file, args, {
      stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
      serialization: 'json',
      cwd: '/',
      env: workerEnvironment(process.env),
    })
    child.on('message', (message) => this.#take(message))
    child.on('error', (error) => this.#log.error({ reason: error.message }, 'content worker could not be started'))
    child.once('close', (code, signal) => this.#onDeath(child, signal ?? `exit code ${code}`))
    return child
  }

  #send(message: unknown): void {
    if (this.#child?.connected === true) this.#child.send(message as object, () => undefined)
  }

  #take(message: unknown): void {
    const answer = asAnswer(message)
    if (answer === undefined) {
      this.#log.error('message of the content worker does not fit the protocol')
      this.#child?.kill('SIGKILL')
      return
    }
    this.#deathsInARow = 0
    const waiting = this.#settle(answer.id)
    if ('error' in answer) waiting?.reject(fromPlainError(answer.error))
    else waiting?.resolve(answer)
  }

  #settle(id: number): Outstanding | undefined {
    const waiting = this.#outstanding.get(id)
    this.#outstanding.delete(id)
    if (this.#outstanding.size === 0) this.#allowSleep()
    return waiting
  }

  #onDeath(child: ChildProcess, how: string): void {
    if (this.#child !== child) return
    this.#child = undefined
    if (this.#closed || this.#outstanding.size === 0) return
    this.#deathsInARow += 1
    this.#log.warn({ how, tasks: this.#outstanding.size }, 'content worker died; its work starts again')
    for (const waiting of this.#outstanding.values()) {
      waiting.deaths += 1
      if (waiting.deaths >= MAX_DEATHS) this.#settle(waiting.task.id)?.reject(died(how))
    }
    if (this.#outstanding.size === 0) return
    setTimeout(() => this.#resume(), Math.min(MAX_PAUSE_MS, 50 * 2 ** this.#deathsInARow))
  }

  #resume(): void {
    if (this.#closed || this.#child !== undefined || this.#outstanding.size === 0) return
    this.#child = this.#start()
    for (const { task } of this.#outstanding.values()) this.#send(task)
  }

  /** While nothing is asked for, the worker keeps neither this process alive nor its own memory for longer than `idleMs`. */
  #allowSleep(): void {
    this.#child?.unref()
    this.#child?.channel?.unref()
    clearTimeout(this.#idle)
    this.#idle = setTimeout(() => void this.#end(), this.#idleMs).unref()
  }

  #stayAwake(): void {
    clearTimeout(this.#idle)
    this.#child?.ref()
    this.#child?.channel?.ref()
  }

  async #end(): Promise<void> {
    clearTimeout(this.#idle)
    const child = this.#child
    if (child === undefined || this.#outstanding.size > 0) return
    this.#child = undefined
    const gone = new Promise((resolve) => child.once('close', resolve))
    if (child.pid === undefined || child.exitCode !== null || child.signalCode !== null) return
    child.ref()
    child.kill('SIGKILL') // nothing of it needs an orderly end
    await gone
  }
}

/** Nothing else of this process's environment is the worker's business. */
function workerEnvironment(env: NodeJS.ProcessEnv): Record<string, string> {
  const kept = [
    'PATH',
    'SLIPWAY_LOG_LEVEL',
    'SLIPWAY_CODE_CACHE',
    'NODE_EXTRA_CA_CERTS',
    'MALLOC_ARENA_MAX',
    'MALLOC_TRIM_THRESHOLD_',
    'MALLOC_MMAP_THRESHOLD_',
    'UV_THREADPOOL_SIZE',
    'NODE_OPTIONS',
  ].flatMap((name): [string, string][] => (env[name] === undefined ? [] : [[name, env[name]]]))
  return Object.fromEntries(kept)
}

function died(how: string): AppError {
  return new AppError(`the content worker died ${MAX_DEATHS} times over this pull (${how})`, {
    code: 'pull-failed',
    hint: 'see the log of the supervisor; the image may be larger than the memory that is left',
  })
}

function unexpected(): AppError {
  return new AppError('the content worker answered another question', { code: 'pull-failed' })
}
