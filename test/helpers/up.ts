import { type ChildProcess, spawn } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { identify, isAlive, type ProcessIdentity } from '../../common/index.ts'
import { CACHE, COMPILED_CACHE, seedCode, seedContent } from './cache.ts'
import { leftoversOf } from './leftovers.ts'
import { freePort, PROJECT, readState, type StateView } from './platform.ts'
import { secretsFound } from './secret-search.ts'

export interface Ended {
  code: number | null
  signal: NodeJS.Signals | null
}

export interface UpOptions {
  /** `up` or `start`. */
  command?: string
  args?: readonly string[]
  /** Runs it as this user. */
  uid?: number
  environment?: Record<string, string>
  /** Where the code lies; absent: here. */
  project?: string
  /** Program and first arguments; absent: this Node and `cli/main.ts`. */
  program?: readonly string[]
}

const WAIT_MS = 60_000

/** A place for a platform, in which `slipway up` is started, killed and started again. */
export class Place {
  readonly dataDirectory: string
  port = 0
  registryPort = 0
  readonly #ups: Up[] = []

  static async make(): Promise<Place> {
    const place = new Place(mkdtempSync(join(tmpdir(), 'slipway-e2e-')))
    place.port = await freePort()
    place.registryPort = await freePort()
    return place
  }

  private constructor(dataDirectory: string) {
    this.dataDirectory = dataDirectory
  }

  get url(): string {
    return `http://127.0.0.1:${this.port}`
  }

  /** Its first start finds what it would make or unpack otherwise. */
  seed(): this {
    seedCode(this.dataDirectory)
    seedContent(this.dataDirectory)
    return this
  }

  up(options: UpOptions = {}): Up {
    const up = new Up(this, options)
    this.#ups.push(up)
    return up
  }

  state(): StateView | undefined {
    return readState(this.dataDirectory)
  }

  async answers(): Promise<boolean> {
    try {
      const response = await fetch(`${this.url}/healthz`, { signal: AbortSignal.timeout(1_000) })
      await response.arrayBuffer()
      return response.ok && this.state()?.ready === true
    } catch {
      return false
    }
  }

  /** Runs any `slipway` command on this place. */
  async run(...args: string[]): Promise<Ended & { stdout: string; stderr: string }> {
    const up = this.up({ command: args[0] ?? '', args: args.slice(1), program: [] })
    const ended = await up.ended
    return { ...ended, stdout: up.stdout, stderr: up.stderr }
  }

  /** Kills what these roles are, as the kernel would for lack of memory. */
  kill(...roles: ('parent' | 'supervisor' | 'server' | 'registry')[]): void {
    const state = this.state()
    for (const role of roles) {
      const target = state?.[role]
      if (target != null && isAlive(target as ProcessIdentity)) process.kill(target.pid, 'SIGKILL')
    }
  }

  leftovers(): string[] {
    return leftoversOf(this.dataDirectory)
  }

  /** Ends whatever runs here; called when the test is over, however it ended. Throws when a secret was found anywhere. */
  async clear(): Promise<void> {
    const said = this.#ups.flatMap(({ stdout, stderr }) => [stdout, stderr])
    const secrets = secretsFound({ dataDirectory: this.dataDirectory, said })
    await this.run('down')
    for (const up of this.#ups) up.child.kill('SIGKILL')
    rmSync(this.dataDirectory, { recursive: true, force: true })
    if (secrets.length > 0) throw new Error(`secrets found:\n${secrets.join('\n')}`)
  }
}

/** One process of `slipway up`. */
export class Up {
  readonly child: ChildProcess
  readonly ended: Promise<Ended>
  readonly #place: Place
  stdout = ''
  stderr = ''

  constructor(place: Place, options: UpOptions) {
    this.#place = place
    const { command = 'up', args = [], uid, environment = {}, project = PROJECT } = options
    const ports = ['--port', String(place.port), '--registry-port', String(place.registryPort)]
    const program = options.program?.length ? options.program : [process.execPath, join(project, 'cli/main.ts')]
    const own = command === 'up' || command === 'start' ? ports : []
    const asUser = uid === undefined ? [] : ['setpriv', `--reuid=${uid}`, `--regid=${uid}`, '--clear-groups', '--']
    const [file = '', ...rest] = [...asUser, ...program, command, ...own, ...args]
    this.child = spawn(file, rest, {
      stdio: ['ignore', 'pipe', 'pipe'],
      cwd: project,
      env: {
        PATH: process.env['PATH'] ?? '',
        HOME: '/root',
        SLIPWAY_DATA: place.dataDirectory,
        SLIPWAY_CACHE: CACHE,
        NODE_COMPILE_CACHE: COMPILED_CACHE,
        ...environment,
      },
    })
    this.child.stdout?.on('data', (chunk: Buffer) => {
      this.stdout += chunk.toString('utf8')
    })
    this.child.stderr?.on('data', (chunk: Buffer) => {
      this.stderr += chunk.toString('utf8')
    })
    this.ended = new Promise((resolve) => this.child.once('close', (code, signal) => resolve({ code, signal })))
  }

  /** Resolves when the platform answers; throws with what it said when it ends before. */
  async ready(): Promise<this> {
    const began = Date.now()
    while (!(await this.#place.answers())) {
      if (this.child.exitCode !== null) throw new Error(`up ended with ${this.child.exitCode}: ${this.stderr}`)
      if (Date.now() - began > WAIT_MS) throw new Error(`not ready after ${WAIT_MS} ms: ${this.stderr}`)
      await sleep(20)
    }
    return this
  }

  get alive(): boolean {
    return this.child.pid !== undefined && identify(this.child.pid) !== undefined
  }
}
