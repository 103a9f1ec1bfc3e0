import { type ChildProcess, spawn } from 'node:child_process'
import { closeSync } from 'node:fs'
import { join } from 'node:path'
import { AppError, type DataPaths, isAlive, type ProcessIdentity } from '../../common/index.ts'
import { EXIT_UNUSABLE, type HostConfig, READINESS_FD, type Readiness } from './host-config.ts'
import { endProcess, signalProcess } from './keeper.ts'
import { openLog } from './log-file.ts'
import { readStateFile } from './state-file.ts'

const RESTART_PAUSE_MS = 20
const POLL_MS = 100
/** V8's heap of the supervisor: it holds tables of instances, nothing else. */
const HEAP_MB = 64

/** Keeps a supervisor running. Does nothing else, so that nothing can kill it but its user. */
export class Parent {
  readonly #config: HostConfig
  readonly #paths: DataPaths
  #closed = false
  #ended: (() => void) | undefined

  constructor(config: HostConfig, paths: DataPaths) {
    this.#config = config
    this.#paths = paths
  }

  /** Starts the platform; resolves when it answers calls. Throws what the supervisor says it cannot do. */
  async start(): Promise<void> {
    const ready = Promise.withResolvers<void>()
    void this.#keep(ready)
    await ready.promise
  }

  /** Ends the platform and all it started; resolves when nothing of it runs. A second call hurries. */
  async close(graceMs: number): Promise<void> {
    this.#closed = true
    const supervisor = this.#supervisor()
    if (supervisor !== undefined) {
      if (this.#ended !== undefined) signalProcess(supervisor, 'SIGINT')
      else await endProcess(supervisor, graceMs)
    }
    this.#ended?.()
  }

  /** Ends only this process's watch: supervisor and instances go on (under systemd, a restart of the unit). */
  leave(): void {
    this.#closed = true
  }

  #supervisor(): ProcessIdentity | undefined {
    const state = readStateFile(this.#paths)
    return state !== undefined && isAlive(state.supervisor) ? state.supervisor : undefined
  }

  async #keep(ready: PromiseWithResolvers<void>): Promise<void> {
    while (!this.#closed) {
      const living = this.#supervisor()
      if (living === undefined) await this.#runOne(ready)
      else {
        ready.resolve()
        await this.#outlive(living)
      }
      await new Promise((resolve) => setTimeout(resolve, RESTART_PAUSE_MS))
    }
  }

  /** A supervisor that an earlier parent left: its end is seen by polling. */
  async #outlive(living: ProcessIdentity): Promise<void> {
    while (!this.#closed && isAlive(living)) await new Promise((resolve) => setTimeout(resolve, POLL_MS))
  }

  async #runOne(ready: PromiseWithResolvers<void>): Promise<void> {
    const logFd = openLog(join(this.#paths.log, 'supervisor.log'))
    const child = spawn(
      process.execPath,
      [
        `--max-old-space-size=${HEAP_MB}`,
        '--max-semi-space-size=2',
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
          ...passedOn('SLIPWAY_LOG_LEVEL', 'DOCKER_HOST', 'NODE_COMPILE_CACHE'),
        },
      },
    )
    closeSync(logFd)
    readReadiness(child, ready)
    const code = await new Promise<number | null>((resolve) => {
      child.once('exit', resolve)
      child.once('error', (thrown) => {
        ready.reject(thrown)
        resolve(EXIT_UNUSABLE)
      })
    })
    if (code === EXIT_UNUSABLE) this.#closed = true
  }
}

function passedOn(...names: string[]): Record<string, string> {
  return Object.fromEntries(
    names.flatMap((name) => (process.env[name] === undefined ? [] : [[name, process.env[name] ?? '']])),
  )
}

function readReadiness(child: ChildProcess, ready: PromiseWithResolvers<void>): void {
  let text = ''
  const pipe = child.stdio[READINESS_FD]
  if (pipe === null || pipe === undefined || !('on' in pipe)) return
  pipe.on('data', (chunk: Buffer) => {
    text = (text + chunk.toString('utf8')).slice(0, 65_536)
    if (!text.includes('\n')) return
    const message = JSON.parse(text.slice(0, text.indexOf('\n'))) as Readiness
    if (message.ready) ready.resolve()
    else ready.reject(new AppError(message.message, { ...message, fault: 'user' }))
  })
  pipe.on('error', () => undefined)
}
