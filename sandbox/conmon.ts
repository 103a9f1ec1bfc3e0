import { type ChildProcess, spawn } from 'node:child_process'
import { readFileSync } from 'node:fs'
import type { Duplex } from 'node:stream'
import { AppError, identify, isAlive, messageOf, type ProcessIdentity } from '../common/index.ts'
import type { Cgroups } from './cgroup.ts'
import type { InstanceNames } from './names.ts'
import type { OciRuntime } from './oci-runtime.ts'
import { runtimeMessage } from './runtime-message.ts'

const MAX_ANSWER_BYTES = 256 * 1024
const SYNC_FD = 3
const START_FD = 4

export interface MonitorOptions {
  names: InstanceNames
  runtime: OciRuntime
  cgroups: Cgroups
  /** The control group that conmon is moved into before it does anything. */
  cgroup: string
}

/**
 * A conmon that waits for the word to create its container: loaded, and in its control group. It needs nothing of the image, so it can wait with a
 * sandbox. Once told, it holds the container's stdout and stderr, writes them to `names.output` and the exit status to `names.exitFile`,
 * whatever becomes of this process.
 */
export class Monitor {
  readonly #options: MonitorOptions
  readonly #child: ChildProcess
  readonly #moved: Promise<void>
  #failure: Error | undefined
  #process: ProcessIdentity | undefined

  constructor(options: MonitorOptions) {
    const { names, runtime, cgroups, cgroup } = options
    this.#options = options
    this.#child = spawn('conmon', conmonArguments(names, runtime), {
      stdio: ['ignore', 'ignore', 'ignore', 'pipe', 'pipe'],
      detached: true,
      cwd: names.directory, // conmon leaves a file `oom` where it stands when the kernel killed for memory
      env: {
        PATH: process.env['PATH'] ?? '/usr/sbin:/usr/bin:/sbin:/bin',
        _OCI_SYNCPIPE: String(SYNC_FD),
        _OCI_STARTPIPE: String(START_FD),
      },
    })
    this.#child.on('error', (thrown) => {
      this.#failure = thrown
    })
    for (const fd of [SYNC_FD, START_FD]) this.#pipe(fd).on('error', () => undefined) // its answer, or the absence of one, says so
    this.#child.unref()
    cgroups.create(cgroup)
    const { pid } = this.#child
    this.#process = pid === undefined ? undefined : identify(pid)
    this.#moved = pid === undefined ? Promise.resolve() : cgroups.addProcess(cgroup, pid)
    this.#moved.catch(() => undefined) // told by `create`
  }

  /** False once it has ended without having been told anything. */
  get waits(): boolean {
    // Asked of the kernel: this process hears of an end some time later.
    const { exitCode, signalCode } = this.#child
    return exitCode === null && signalCode === null && this.#process !== undefined && isAlive(this.#process)
  }

  /**
   * Creates the container of the bundle and answers the pid of its first process. Called once.
   * Throws `instance-create-failed` with the exact message of the OCI runtime.
   */
  async create(timeoutMs: number, signal?: AbortSignal): Promise<number> {
    const { names, cgroups, cgroup } = this.#options
    const done = new AbortController()
    try {
      await this.#moved
      const answer = this.#answer(timeoutMs, signal)
      this.#pipe(START_FD).end('\0')
      void cgroups.keepMovesQuick(cgroup, () => this.#monitor()?.pid, done.signal)
      return readPid(await answer, names)
    } finally {
      done.abort()
      for (const fd of [SYNC_FD, START_FD]) this.#pipe(fd).destroy()
    }
  }

  /** Ends it untold. */
  discard(): void {
    this.#child.kill('SIGKILL')
    for (const fd of [SYNC_FD, START_FD]) this.#pipe(fd).destroy()
  }

  /** The process that stays: conmon forks, and writes its new pid down. None but this very one is ever moved. */
  #monitor(): ProcessIdentity | undefined {
    if (this.#process !== undefined && isAlive(this.#process)) return this.#process
    try {
      this.#process = identify(Number(readFileSync(this.#options.names.monitorPidFile, 'latin1')))
      return this.#process
    } catch {
      return undefined
    }
  }

  #pipe(fd: number): Duplex {
    return this.#child.stdio[fd] as Duplex
  }

  /** conmon's one line of JSON. */
  #answer(timeoutMs: number, signal: AbortSignal | undefined): Promise<string> {
    const { names } = this.#options
    const sync = this.#pipe(SYNC_FD)
    return new Promise((resolve, reject) => {
      let text = ''
      const end = (): void => {
        clearTimeout(timer)
        signal?.removeEventListener('abort', onAbort)
      }
      const fail = (why: string): void => {
        end()
        reject(failed(names.id, why))
      }
      const onAbort = (): void => fail(`given up: ${messageOf(signal?.reason)}`)
      const timer = setTimeout(() => fail(`no answer from conmon within ${timeoutMs} ms`), timeoutMs)
      signal?.addEventListener('abort', onAbort, { once: true })
      if (this.#failure !== undefined) return fail(`conmon cannot be started: ${this.#failure.message}`)
      this.#child.once('error', (thrown) => fail(`conmon cannot be started: ${thrown.message}`))
      sync.on('error', (thrown) => fail(`conmon's answer cannot be read: ${thrown.message}`))
      sync.on('end', () =>
        fail(text === '' ? 'conmon ended without an answer' : `conmon answered "${text.slice(0, 200)}"`),
      )
      sync.on('data', (chunk: Buffer) => {
        text += chunk.toString('utf8')
        if (text.length > MAX_ANSWER_BYTES) return fail('conmon answers without end')
        if (!text.includes('\n')) return
        end()
        resolve(text)
      })
    })
  }
}

function conmonArguments(names: InstanceNames, runtime: OciRuntime): string[] {
  const flags: [string, string][] = [
    ['--api-version', '1'],
    ['-c', names.id],
    ['-u', names.id],
    ['-n', names.id],
    ['-r', runtime.path],
    ...['--root', names.state].map((argument): [string, string] => ['--runtime-arg', argument]),
    ['-b', names.bundle],
    ['-p', names.pidFile],
    ['--conmon-pidfile', names.monitorPidFile],
    ['--exit-dir', names.exitDirectory],
    ['--socket-dir-path', names.directory],
    ['-l', `k8s-file:${names.output}`],
    ['--log-level', 'warning'],
  ]
  // Without it conmon flushes the file to disk at each rotation (10 to 40 ms), and reads nothing from the function meanwhile.
  return [...flags.flat(), '--no-sync-log']
}

function readPid(answer: string, names: InstanceNames): number {
  const parsed = JSON.parse(answer) as { data?: unknown; message?: unknown }
  if (typeof parsed.data === 'number' && parsed.data > 0) return parsed.data
  throw failed(names.id, runtimeMessage(typeof parsed.message === 'string' ? parsed.message : 'no message'))
}

function failed(id: string, why: string): AppError {
  return new AppError(`instance ${id} cannot be created: ${why}`, { code: 'instance-create-failed', fault: 'user' })
}
