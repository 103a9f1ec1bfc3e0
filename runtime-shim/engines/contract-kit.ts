import { randomBytes } from 'node:crypto'
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { request } from 'node:http'
import { Socket } from 'node:net'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Digest, ImageConfig } from '../../oci/index.ts'
import type { Credential } from '../../registry-auth/index.ts'
import type { DialOutcome, Engine, EngineInstance, InstanceSpec } from './engine.ts'

/** What an engine's test provides so that the contract suites can run against it. */
export interface EngineHarness {
  readonly engine: Engine
  /** The probe image (test/helpers/test-image.ts), where `engine.prepare` finds it. */
  readonly image: { registry: string; repository: string; digest: Digest; config: ImageConfig }
  readonly credential: Credential
  /** Parent of the instance directories. */
  readonly instancesDirectory: string
  /** Another Engine object over the same state, as a restarted supervisor has it. The harness closes it. */
  reopen(): Promise<Engine>
  /** Creates and starts the instance in a process of its own, which is killed with SIGKILL before this answers. */
  createInKilledProcess(spec: InstanceSpec): Promise<void>
  /** Everything on the machine that still carries the instance's name: processes, cgroups, mounts, containers. */
  traces(id: string): Promise<string[]>
  close(): Promise<void>
}

/** What each part of the suite gets; both are there once the suite has begun. */
export interface Access {
  harness: () => EngineHarness
  kit: () => ContractKit
}

export const PORT = 9000
const LISTEN_TIMEOUT_MS = 30_000

/** Makes instances with little typing and removes every one of them again. */
export class ContractKit {
  readonly harness: EngineHarness
  readonly #made: InstanceSpec[] = []

  constructor(harness: EngineHarness) {
    this.harness = harness
  }

  /** The spec of a new instance, its directory made as the supervisor makes it. */
  spec(overrides: Partial<InstanceSpec> = {}): InstanceSpec {
    const id = overrides.id ?? randomBytes(8).toString('hex')
    const directory = join(this.harness.instancesDirectory, id)
    mkdirSync(directory, { recursive: true, mode: 0o700 })
    const spec: InstanceSpec = {
      id,
      directory,
      image: this.harness.image,
      env: {},
      hostname: `probe-${id.slice(0, 4)}`,
      memoryBytes: 256 * 1024 * 1024,
      cpus: 1,
      pids: 64,
      openFiles: 1024,
      tmpBytes: 64 * 1024 * 1024,
      ...overrides,
    }
    writeFileSync(join(directory, 'instance.json'), JSON.stringify({ id }))
    this.#made.push(spec)
    return spec
  }

  async create(overrides: Partial<InstanceSpec> = {}): Promise<EngineInstance> {
    return this.harness.engine.create(this.spec(overrides))
  }

  /** Created and started, with the probe's server or whatever `command` says. */
  async start(overrides: Partial<InstanceSpec> = {}): Promise<EngineInstance> {
    const instance = await this.create(overrides)
    await instance.start()
    return instance
  }

  /** Started and listening: what tests look from. */
  async probe(overrides: Partial<InstanceSpec> = {}): Promise<Probe> {
    const instance = await this.start(overrides)
    await listening(instance)
    return new Probe(instance)
  }

  /** Runs `code` with `node -e` as the instance's process until it ends. */
  async runToEnd(code: string, overrides: Partial<InstanceSpec> = {}): Promise<EngineInstance> {
    const instance = await this.start({ command: ['/usr/bin/node', '-e', code], ...overrides })
    await within(instance.exited, LISTEN_TIMEOUT_MS, 'end of the process')
    return instance
  }

  /** Removes every instance that was made through this kit, with its directory. */
  async cleanUp(): Promise<void> {
    for (const { id, directory } of this.#made.splice(0)) {
      await this.harness.engine.sweep(id, directory)
      rmSync(directory, { recursive: true, force: true })
    }
  }
}

/** A running probe server: evaluates code inside the instance. */
export class Probe {
  readonly instance: EngineInstance

  constructor(instance: EngineInstance) {
    this.instance = instance
  }

  /** The value that `code` (the body of an async function; see the probe's server for what is in scope) returns inside. */
  async eval<T = unknown>(code: string): Promise<T> {
    const answer = await this.#ask(code)
    if (answer.error !== undefined) throw new Error(`inside: ${answer.error.code ?? ''} ${answer.error.message}`)
    return answer.value as T
  }

  /** The error code (`EROFS`) with which `code` fails inside, or `none`. */
  async failure(code: string): Promise<string> {
    const { error } = await this.#ask(code)
    return error === undefined ? 'none' : (error.code ?? error.message)
  }

  async #ask(code: string): Promise<Answer> {
    const outcome = await this.instance.dial(PORT)
    if (outcome.kind !== 'connected') throw new Error(`dial: ${outcome.kind}`)
    return JSON.parse(await post(outcome.fd, code)) as Answer
  }
}

interface Answer {
  value?: unknown
  error?: { code: string | null; message: string }
}

/** Dials until the instance listens. */
export async function listening(instance: EngineInstance): Promise<void> {
  const until = Date.now() + LISTEN_TIMEOUT_MS
  for (;;) {
    const outcome = await instance.dial(PORT)
    if (outcome.kind === 'connected') {
      new Socket({ fd: outcome.fd }).destroy()
      return
    }
    if (outcome.kind === 'gone') throw new Error(`ended before it listened: ${rawOutput(instance)}`)
    if (Date.now() > until) throw new Error(`does not listen: ${outcome.kind}; ${rawOutput(instance)}`)
    await sleep(5)
  }
}

/** One dial whose socket, if any, is closed at once. */
export async function dialKind(instance: EngineInstance, port = PORT): Promise<DialOutcome['kind']> {
  const outcome = await instance.dial(port)
  if (outcome.kind === 'connected') new Socket({ fd: outcome.fd }).destroy()
  return outcome.kind
}

function post(fd: number, body: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = new Socket({ fd })
    const headers = { connection: 'close', 'content-length': Buffer.byteLength(body) }
    const call = request({ method: 'POST', path: '/', headers, createConnection: () => socket }, (response) => {
      const chunks: Buffer[] = []
      response.on('data', (chunk: Buffer) => chunks.push(chunk))
      response.on('end', () => resolve(Buffer.concat(chunks).toString('utf8')))
      response.on('error', reject)
    })
    call.on('error', reject)
    call.setTimeout(LISTEN_TIMEOUT_MS, () => call.destroy(new Error('no answer from inside')))
    call.end(body)
  })
}

export interface OutputRecord {
  stream: string
  whole: boolean
  text: string
}

/** The records of an output file (`TIME STREAM F|P TEXT`), as they stand. */
export function outputRecords(file: string): OutputRecord[] {
  if (!existsSync(file)) return []
  const lines = readFileSync(file, 'latin1').split('\n')
  lines.pop()
  return lines.map((line) => {
    const match = /^\S+ (stdout|stderr) ([FP]) (.*)$/s.exec(line)
    if (match === null) throw new Error(`no output record: ${line.slice(0, 200)}`)
    return { stream: match[1] ?? '', whole: match[2] === 'F', text: match[3] ?? '' }
  })
}

/** The text of one stream, partial records joined; a last line without end stands without one. */
export function streamText(records: readonly OutputRecord[], stream: string): string {
  return records
    .filter((record) => record.stream === stream)
    .map((record) => (record.whole ? `${record.text}\n` : record.text))
    .join('')
}

/** Waits (bounded) until the stream's text satisfies `seen`. */
export async function outputUntil(
  instance: EngineInstance,
  stream: string,
  seen: (text: string) => boolean,
): Promise<string> {
  const until = Date.now() + 10_000
  for (;;) {
    const text = streamText(outputRecords(instance.outputFile), stream)
    if (seen(text)) return text
    if (Date.now() > until) throw new Error(`output never came; ${rawOutput(instance)}`)
    await sleep(10)
  }
}

function rawOutput(instance: EngineInstance): string {
  return existsSync(instance.outputFile) ? readFileSync(instance.outputFile, 'utf8').slice(-2000) : '(no output file)'
}

/** `promise`, or an error that names `what` after `ms`. */
export async function within<T>(promise: Promise<T>, ms: number, what: string): Promise<T> {
  const controller = new AbortController()
  const late = sleep(ms, undefined, { signal: controller.signal }).then(() => {
    throw new Error(`${what} did not come within ${ms} ms`)
  })
  try {
    return await Promise.race([promise, late])
  } finally {
    controller.abort()
    late.catch(() => undefined)
  }
}
