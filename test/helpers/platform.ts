import { type ChildProcess, spawn } from 'node:child_process'
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { execa } from 'execa'
import { CACHE, COMPILED_CACHE, seedCode, seedContent } from './cache.ts'
import { leftoversOf } from './leftovers.ts'
import { secretsFound } from './secret-search.ts'

export const PROJECT = join(dirname(fileURLToPath(import.meta.url)), '../..')
const START_MS = 120_000

export interface StateView {
  supervisor: { pid: number }
  server: { pid: number; generation: number } | null
  registry: { pid: number } | null
  parent: { pid: number } | null
  ready: boolean
}

export interface PlatformOptions {
  engine: string
  /** Sandboxes kept waiting; absent: as many as `slipway up` keeps by itself. */
  sandboxes?: number
  /** Its content store begins empty; absent: it begins with the base image's layers. */
  cold?: boolean
  /** Default debug. */
  logLevel?: string
  /** More options of `slipway up`. */
  upOptions?: readonly string[]
  /** More variables for its processes. */
  environment?: Record<string, string>
}

/** A whole platform with a data directory and ports of its own, as a user starts it. */
export class Platform {
  readonly dataDirectory: string
  readonly port: number
  readonly registryPort: number
  readonly #options: PlatformOptions
  /** Answers of failed calls and what commands said beside their result: no secret may be in them. */
  readonly #said: string[] = []
  #up: ChildProcess | undefined
  stderr = ''

  private constructor(dataDirectory: string, port: number, registryPort: number, options: PlatformOptions) {
    this.dataDirectory = dataDirectory
    this.port = port
    this.registryPort = registryPort
    this.#options = options
  }

  static async start(engine = 'runc', options: Omit<PlatformOptions, 'engine'> = {}): Promise<Platform> {
    const dataDirectory = mkdtempSync(join(tmpdir(), 'slipway-e2e-'))
    seedCode(dataDirectory)
    if (engine === 'runc' && options.cold !== true) seedContent(dataDirectory)
    const platform = new Platform(dataDirectory, await freePort(), await freePort(), { ...options, engine })
    await platform.up()
    return platform
  }

  get url(): string {
    return `http://127.0.0.1:${this.port}`
  }

  get token(): string {
    return readFileSync(join(this.dataDirectory, 'admin-token'), 'utf8').trim()
  }

  /** Starts the parent and waits until the platform answers calls. */
  async up(): Promise<void> {
    const ports = ['--port', String(this.port), '--registry-port', String(this.registryPort)]
    const { engine, sandboxes, upOptions = [] } = this.#options
    const waiting = sandboxes === undefined ? [] : ['--sandboxes', String(sandboxes)]
    const args = [join(PROJECT, 'cli/main.ts'), 'up', ...ports, '--engine', engine, ...waiting, ...upOptions]
    const child = spawn(process.execPath, args, {
      stdio: ['ignore', 'ignore', 'pipe'],
      env: this.environment,
      cwd: PROJECT,
    })
    this.#up = child
    child.stderr?.on('data', (chunk: Buffer) => {
      this.stderr = (this.stderr + chunk.toString('utf8')).slice(-65_536)
    })
    const began = Date.now()
    while (!(await this.isHealthy())) {
      if (child.exitCode !== null) throw new Error(`up ended with ${child.exitCode}: ${this.stderr}${this.logs()}`)
      if (Date.now() - began > START_MS) throw new Error(`not ready after ${START_MS} ms: ${this.stderr}${this.logs()}`)
      await sleep(50)
    }
  }

  async isHealthy(): Promise<boolean> {
    if (!this.state()?.ready) return false
    try {
      const response = await fetch(`${this.url}/healthz`, { signal: AbortSignal.timeout(2_000) })
      await response.arrayBuffer()
      return response.ok
    } catch {
      return false
    }
  }

  get environment(): Record<string, string> {
    const path = process.env['PATH'] ?? ''
    return {
      PATH: path,
      HOME: '/root',
      SLIPWAY_DATA: this.dataDirectory,
      SLIPWAY_CACHE: CACHE,
      NODE_COMPILE_CACHE: COMPILED_CACHE,
      SLIPWAY_LOG_LEVEL: this.#options.logLevel ?? 'debug',
      ...this.#options.environment,
    }
  }

  state(): StateView | undefined {
    return readState(this.dataDirectory)
  }

  /** Runs `slipway ARGS -o json` and answers its result; throws with its stderr when it fails. */
  async cli<T = Record<string, unknown>>(...args: string[]): Promise<T> {
    const { stdout } = await this.run(...args, '-o', 'json')
    return JSON.parse(stdout) as T
  }

  async run(...args: string[]): Promise<{ stdout: string; stderr: string; exitCode: number }> {
    const result = await execa(process.execPath, [join(PROJECT, 'cli/main.ts'), ...args], {
      env: this.environment,
      extendEnv: false,
      reject: false,
      timeout: 120_000,
    })
    this.#said.push(result.stderr)
    if (result.exitCode !== 0)
      throw new Error(`slipway ${args.join(' ')}: exit ${result.exitCode}\n${result.stderr}\n${result.stdout}`)
    return { stdout: result.stdout, stderr: result.stderr, exitCode: result.exitCode }
  }

  async invoke(
    name: string,
    event: unknown,
    signal?: AbortSignal,
    namespace = 'default',
  ): Promise<{ status: number; body: Record<string, unknown> }> {
    const response = await fetch(`${this.url}/v1/namespaces/${namespace}/functions/${name}/invocations`, {
      method: 'POST',
      headers: { authorization: `Bearer ${this.token}`, 'content-type': 'application/json' },
      body: JSON.stringify(event),
      ...(signal === undefined ? {} : { signal }),
    })
    const body = (await response.json()) as Record<string, unknown>
    if (!response.ok) this.#said.push(JSON.stringify(body))
    return { status: response.status, body }
  }

  instanceDirectories(): string[] {
    return readdirSync(join(this.dataDirectory, 'run/instances')).filter((id) =>
      existsSync(join(this.dataDirectory, 'run/instances', id, 'instance.json')),
    )
  }

  /** The last lines of every process's log, for a failure's report. */
  logs(): string {
    const directory = join(this.dataDirectory, 'log')
    if (!existsSync(directory)) return ''
    return readdirSync(directory)
      .map((name) => `\n--- ${name}\n${readFileSync(join(directory, name), 'utf8').split('\n').slice(-40).join('\n')}`)
      .join('')
  }

  /** Ends the platform as `slipway down` does and removes its data. Throws when anything of it is left, or a secret was found anywhere. */
  async stop(): Promise<void> {
    const secrets = secretsFound({ dataDirectory: this.dataDirectory, said: [...this.#said, this.stderr] })
    await this.run('down')
    const child = this.#up
    if (child !== undefined && child.exitCode === null && child.signalCode === null) {
      await Promise.race([new Promise((resolve) => child.once('exit', resolve)), sleep(5_000)])
    }
    const left = this.leftovers()
    rmSync(this.dataDirectory, { recursive: true, force: true })
    if (left.length > 0) throw new Error(`left behind:\n${left.join('\n')}`)
    if (secrets.length > 0) throw new Error(`secrets found:\n${secrets.join('\n')}`)
  }

  /** What of it is still on this machine. */
  leftovers(): string[] {
    return leftoversOf(this.dataDirectory)
  }
}

export function readState(dataDirectory: string): StateView | undefined {
  const file = join(dataDirectory, 'run/supervisor.json')
  return existsSync(file) ? (JSON.parse(readFileSync(file, 'utf8')) as StateView) : undefined
}

export async function freePort(): Promise<number> {
  const server = createServer()
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const address = server.address()
  await new Promise((resolve) => server.close(resolve))
  if (address === null || typeof address === 'string') throw new Error('no port')
  return address.port
}
