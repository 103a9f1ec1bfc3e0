import { type ChildProcess, spawn } from 'node:child_process'
import { closeSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import {
  AppError,
  codeArguments,
  codeEnvironment,
  type DataPaths,
  identify,
  isAlive,
  type ProcessIdentity,
} from '../../common/index.ts'
import { cloudEnvironment } from './cloud-environment.ts'
import { EXIT_UNUSABLE, type HostConfig, READINESS_FD, type Readiness } from './host-config.ts'
import { endProcess } from './keeper.ts'
import { openLog } from './log-file.ts'
import { readStateFile } from './state-file.ts'

const RESTART_PAUSE_MS = 20
const MAX_PAUSE_MS = 2_000
/** A supervisor that lived this long was healthy: the next start waits for nothing. */
const HEALTHY_MS = 2_000
const POLL_MS = 100
const LAST_WORDS_MS = 200
/** V8's heap of the supervisor: it holds tables of instances, nothing else. */
const HEAP_MB = 64

/** Keeps a supervisor running. Does nothing else, so that nothing can kill it but its user. */
export class Parent {
  readonly #config: HostConfig
  readonly #paths: DataPaths
  readonly #ready = Promise.withResolvers<boolean>()
  #wasReady = false
  #closed = false
  /** The supervisor that this process started; it writes the state file some time after its start. */
  #child: ChildProcess | undefined
  #failures = 0

  constructor(config: HostConfig, paths: DataPaths) {
    this.#config = config
    this.#paths = paths
  }

  /** Starts the platform; true when it answers calls, false when it was closed before. Throws what the supervisor says it cannot do. */
  async start(): Promise<boolean> {
    void this.#keep()
    return this.#ready.promise
  }

  /**
   * Ends the platform and all it started; resolves when nothing of it runs. `graceMs` is for each step: while instances go, nothing is hurried.
   * What a supervisor leaves that was killed, now or before, only another one knows: it is started to end it.
   */
  async close(graceMs: number): Promise<void> {
    this.#closed = true
    await this.#end(graceMs)
    const left = readStateFile(this.#paths)
    if (left === undefined || isAlive(left.supervisor)) return
    const last = new Parent(this.#config, this.#paths)
    await last.start()
    last.#closed = true
    await last.#end(graceMs)
  }

  async #end(graceMs: number): Promise<void> {
    const supervisor = this.#supervisor()
    if (supervisor !== undefined) await endProcess(supervisor, graceMs, () => instancesIn(this.#paths))
  }

  /** Ends only this process's watch: supervisor and instances go on (under systemd, a restart of the unit). */
  leave(): void {
    this.#closed = true
    this.#child?.unref()
    const pipe = this.#child?.stdio[READINESS_FD]
    if (pipe !== null && pipe !== undefined) pipe.destroy()
  }

  #supervisor(): ProcessIdentity | undefined {
    if (this.#child?.pid !== undefined && this.#child.exitCode === null && this.#child.signalCode === null)
      return identify(this.#child.pid)
    const state = readStateFile(this.#paths)
    return state !== undefined && isAlive(state.supervisor) ? state.supervisor : undefined
  }

  /** Only a first supervisor that cannot work here ends this: what runs already is not left alone because the next one fails. */
  async #keep(): Promise<void> {
    while (!this.#closed) {
      const beganMs = performance.now()
      try {
        const living = this.#supervisor()
        if (living === undefined) await this.#runOne()
        else {
          this.#isReady()
          await this.#outlive(living)
        }
      } catch (thrown) {
        this.#cannotStart(thrown)
      }
      this.#failures = performance.now() - beganMs > HEALTHY_MS ? 0 : this.#failures + 1
      const pauseMs = Math.min(MAX_PAUSE_MS, RESTART_PAUSE_MS * 2 ** Math.max(0, this.#failures - 1))
      await new Promise((resolve) => setTimeout(resolve, pauseMs))
    }
    this.#ready.resolve(false)
  }

  #isReady(): void {
    this.#wasReady = true
    this.#ready.resolve(true)
  }

  #cannotStart(why: unknown): void {
    if (this.#wasReady) return
    this.#closed = true
    this.#ready.reject(why)
  }

  /** A supervisor that an earlier parent left: its end is seen by polling. */
  async #outlive(living: ProcessIdentity): Promise<void> {
    while (!this.#closed && isAlive(living)) await new Promise((resolve) => setTimeout(resolve, POLL_MS))
  }

  async #runOne(): Promise<void> {
    const logFd = openLog(join(this.#paths.log, 'supervisor.log'))
    const child = spawn(
      process.execPath,
      [
        `--max-old-space-size=${HEAP_MB}`,
        '--max-semi-space-size=2',
        ...codeArguments(this.#config.codeDirectory),
        join(this.#config.codeDirectory, 'runtime-shim/host/main.ts'),
      ],
      {
        stdio: ['ignore', logFd, logFd, 'pipe'],
        detached: true,
        cwd: '/',
        env: {
          PATH: process.env['PATH'] ?? '/usr/sbin:/usr/bin:/sbin:/bin',
          HOME: process.env['HOME'] ?? '/',
          SLIPWAY_HOST_CONFIG: JSON.stringify(this.#config),
          ...codeEnvironment(this.#paths.code),
          ...passedOn('SLIPWAY_LOG_LEVEL', 'DOCKER_HOST'),
          ...cloudEnvironment(),
        },
      },
    )
    closeSync(logFd)
    this.#child = child
    readReadiness(child, (readiness) => {
      if (readiness.ready) this.#isReady()
      else this.#cannotStart(new AppError(readiness.message, { ...readiness, fault: 'user' }))
    })
    const code = await new Promise<number | null>((resolve, reject) => {
      child.once('exit', resolve)
      child.once('error', reject)
    })
    if (code !== EXIT_UNUSABLE || this.#wasReady) return
    // What it said may be read a moment after its end is seen.
    await new Promise((resolve) => setTimeout(resolve, LAST_WORDS_MS))
    const hint = `look at supervisor.log in ${this.#paths.log}`
    this.#cannotStart(new AppError('the supervisor ended without saying why', { code: 'internal', hint }))
  }
}

/** How many there are still: what `endProcess` takes for progress. */
export function instancesIn(paths: DataPaths): number {
  try {
    return readdirSync(paths.instances).length
  } catch {
    return 0
  }
}

function passedOn(...names: string[]): Record<string, string> {
  return Object.fromEntries(
    names.flatMap((name) => (process.env[name] === undefined ? [] : [[name, process.env[name] ?? '']])),
  )
}

function readReadiness(child: ChildProcess, tell: (readiness: Readiness) => void): void {
  let text = ''
  const pipe = child.stdio[READINESS_FD]
  if (pipe === null || pipe === undefined || !('on' in pipe)) return
  pipe.on('data', (chunk: Buffer) => {
    text = (text + chunk.toString('utf8')).slice(0, 65_536)
    if (!text.includes('\n')) return
    tell(JSON.parse(text.slice(0, text.indexOf('\n'))) as Readiness)
  })
  pipe.on('error', () => undefined)
}
