import type { Readable } from 'node:stream'
import { text } from 'node:stream/consumers'
import type Docker from 'dockerode'
import { AppError, errnoOf, messageOf } from '../../common/index.ts'

/** Longest wait for an answer of the Engine that is no stream. Starting a container on a busy machine takes seconds. */
const CALL_TIMEOUT_MS = 60_000
/** Of what an Engine says in an error, this many characters are kept. */
const MAX_WORDS = 8_192

export interface CallOptions {
  /** Code of the error when the Engine refuses. Default `engine-failed`. */
  code?: string
  /** Default 60,000. */
  timeoutMs?: number
  signal?: AbortSignal | undefined
}

/** The transport below the client: for what the client itself gets wrong. */
interface Modem {
  dial(request: object, done: (error: Error | null, answer: unknown) => void): void
}

/** One Docker Engine behind its socket: a place where every call gets a bound and every failure a name. */
export class DockerApi {
  readonly docker: Docker
  readonly socketPath: string
  readonly #closing = new AbortController()

  constructor(docker: Docker, socketPath: string) {
    this.docker = docker
    this.socketPath = socketPath
  }

  /** Aborted when the engine is closed. */
  get closing(): AbortSignal {
    return this.#closing.signal
  }

  get #modem(): Modem {
    return this.docker.modem
  }

  container(name: string): Docker.Container {
    return this.docker.getContainer(name)
  }

  /**
   * Runs one call. Throws `engine-unreachable` (retryable) when no Engine answers, the caller's own reason when its signal is aborted,
   * and `options.code` with the Engine's own words and `details.status` when it refuses.
   */
  async call<T>(what: string, work: (signal: AbortSignal) => Promise<T>, options: CallOptions = {}): Promise<T> {
    const { timeoutMs = CALL_TIMEOUT_MS, signal } = options
    try {
      return await bounded(work, timeoutMs, signal === undefined ? [this.closing] : [this.closing, signal])
    } catch (thrown) {
      if (signal?.aborted === true) throw signal.reason
      throw this.error(what, thrown, options.code)
    }
  }

  /** As `call`, but an object that does not exist is `undefined`. */
  async find<T>(
    what: string,
    work: (signal: AbortSignal) => Promise<T>,
    options: CallOptions = {},
  ): Promise<T | undefined> {
    try {
      return await this.call(what, work, options)
    } catch (thrown) {
      if (statusOf(thrown) === 404) return undefined
      throw thrown
    }
  }

  /**
   * Opens an answer that goes on for as long as it likes; only its beginning is bounded. Aborting `signal` ends it with an error. Throws as
   * `call` does.
   */
  async openStream(
    what: string,
    open: (signal: AbortSignal) => Promise<NodeJS.ReadableStream>,
    signal?: AbortSignal,
  ): Promise<Readable> {
    const late = new AbortController()
    const timer = setTimeout(() => late.abort(), CALL_TIMEOUT_MS)
    try {
      const stream = await open(AbortSignal.any([this.closing, late.signal, ...(signal === undefined ? [] : [signal])]))
      return stream as Readable
    } catch (thrown) {
      throw this.error(what, thrown)
    } finally {
      clearTimeout(timer)
    }
  }

  /**
   * The exit code of a container once it does not run (any more); undefined when there is no such container. Read as a stream: the
   * client's own `wait` stays open for ever when the Engine dies after its headers, which it sends at once.
   */
  async waitForEnd(name: string): Promise<number | undefined> {
    const what = `waiting for ${name}`
    const request = {
      path: `/containers/${name}/wait?`,
      method: 'POST',
      options: { _query: { condition: 'not-running' }, _body: {} },
      isStream: true,
      statusCodes: { 200: true },
    }
    const open = (abortSignal: AbortSignal): Promise<Readable> =>
      new Promise((resolve, reject) => {
        this.#modem.dial({ ...request, abortSignal }, (error, answer) =>
          error === null ? resolve(answer as Readable) : reject(error),
        )
      })
    try {
      const { StatusCode } = JSON.parse(await text(await this.openStream(what, open))) as { StatusCode: number }
      return StatusCode
    } catch (thrown) {
      if (statusOf(thrown) === 404) return undefined
      throw this.error(what, thrown)
    }
  }

  close(): void {
    this.#closing.abort(new AppError('the Docker engine was closed', { code: 'engine-closed' }))
  }

  error(what: string, thrown: unknown, code = 'engine-failed'): AppError {
    if (thrown instanceof AppError) return thrown
    if (this.closing.aborted) return this.closing.reason as AppError
    const status = statusOf(thrown)
    if (status === undefined) return this.#unreachable(what, thrown)
    return new AppError(`${what} failed: ${engineWords(thrown)}`, {
      code,
      fault: 'dependency',
      details: { status },
      cause: thrown,
    })
  }

  #unreachable(what: string, thrown: unknown): AppError {
    const errno = errnoOf(thrown)
    const isLate = thrown instanceof Error && thrown.name === 'AbortError'
    const why = isLate ? 'no answer in time' : (errno ?? messageOf(thrown))
    const hint =
      errno === 'EACCES'
        ? `give this user access to ${this.socketPath} (group docker), or run as root`
        : 'start the Docker Engine, or choose another engine with --engine'
    return new AppError(`${what} failed: the Docker Engine at ${this.socketPath} does not answer (${why})`, {
      code: 'engine-unreachable',
      fault: 'dependency',
      retryable: true,
      hint,
      cause: thrown,
    })
  }
}

/** Opens an Engine. dockerode and what it brings (35 MB of memory) are loaded here, by the first who needs them. */
export async function connectDocker(socketPath: string): Promise<DockerApi> {
  const { default: Client } = await import('dockerode')
  // Without an explicit host and protocol the library would prefer what DOCKER_HOST says.
  return new DockerApi(new Client({ socketPath, host: undefined, protocol: 'http' }), socketPath)
}

/**
 * Waits for `work` until the time is over or one of `signals` is aborted, and leaves nothing behind on them. Not every method of the client can
 * be aborted: the wait for it can.
 */
async function bounded<T>(
  work: (signal: AbortSignal) => Promise<T>,
  timeoutMs: number,
  signals: readonly AbortSignal[],
): Promise<T> {
  const bound = new AbortController()
  const { promise: ended, reject } = Promise.withResolvers<never>()
  const end = (): void => {
    const reason =
      (signals.find((signal) => signal.aborted)?.reason as Error | undefined) ?? new Error('no answer in time')
    bound.abort(reason)
    reject(reason)
  }
  const timer = setTimeout(end, timeoutMs)
  for (const signal of signals) signal.addEventListener('abort', end)
  try {
    if (signals.some((signal) => signal.aborted)) end()
    return await Promise.race([bound.signal.aborted ? ended : work(bound.signal), ended])
  } finally {
    clearTimeout(timer)
    for (const signal of signals) signal.removeEventListener('abort', end)
  }
}

/** HTTP status of a refusal by the Engine, also from an AppError made of one. */
export function statusOf(thrown: unknown): number | undefined {
  if (thrown instanceof AppError) {
    const status = thrown.details['status']
    return typeof status === 'number' ? status : undefined
  }
  const status = thrown instanceof Error && 'statusCode' in thrown ? thrown.statusCode : undefined
  return typeof status === 'number' ? status : undefined
}

/** What the Engine itself said, without the client's decoration (`(HTTP code 404) unexpected - … `). */
export function engineWords(thrown: unknown): string {
  const json = thrown instanceof Error && 'json' in thrown ? thrown.json : undefined
  const said = typeof json === 'object' && json !== null && 'message' in json ? json.message : undefined
  const words = typeof said === 'string' ? said : messageOf(thrown).replace(/^\(HTTP code \d+\) [^-]*- /, '')
  return words.trim().slice(0, MAX_WORDS)
}
