import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, vi } from 'vitest'
import type { InvocationRecord } from '../../api/index.ts'
import { SYSCALLS } from '../../runtime-shim/engines/hostile-kit.ts'
import { Api, type CallAnswer } from '../helpers/api.ts'
import type { Platform } from '../helpers/platform.ts'
import { sendRaw } from '../helpers/raw-http.ts'
import { imageReference, type ProbeImage } from './image.ts'

const SOON = { timeout: 30_000, interval: 100 }
/** A whole core from the start, and gone soon after its last call. */
const QUICK = { memory: 1_280, timeout: 60, keepAlive: 30 }

export type Settings = Record<string, unknown>

/** A line of a function's log as the API gives it. */
export interface Line {
  stream: 'stdout' | 'stderr' | 'platform'
  line: string
  lineBase64?: string
}

/** Looks again and again until `holds` does not throw: `expect.poll` for checks that run beside each other. */
export async function eventually<T>(
  look: () => T | Promise<T>,
  holds: (seen: T) => void,
  timeout = SOON.timeout,
): Promise<void> {
  await vi.waitFor(async () => holds(await look()), { ...SOON, timeout })
}

/** Decides one assertion on one engine: throws when it does not hold. */
export type Check = (bench: Bench) => Promise<void>

/** A platform on one engine with the probe image, and the ways to look into its instances and at them. */
export class Bench {
  readonly engine: string
  readonly platform: Platform
  readonly api: Api
  readonly #kept = new Map<string, Promise<unknown>>()

  constructor(platform: Platform, engine: string) {
    this.platform = platform
    this.engine = engine
    this.api = new Api(platform)
  }

  /** Made once for all checks that want it. */
  once<T>(name: string, make: () => Promise<T>): Promise<T> {
    const kept = this.#kept.get(name) ?? make()
    kept.catch(() => undefined)
    this.#kept.set(name, kept)
    return kept as Promise<T>
  }

  /** A function of its own for a check. */
  async deploy(name: string, settings: Settings = {}, image: ProbeImage = 'plain'): Promise<Probe> {
    await this.api.deploy(name, imageReference(image), { ...QUICK, ...settings })
    return new Probe(this, name)
  }

  /** A function with two instances that wait for calls. */
  async deployTwo(name: string, settings: Settings = {}): Promise<Probe> {
    const probe = await this.deploy(name, { maxInstances: 2, provisioned: 2, ...settings })
    await eventually(
      () => this.api.instances(name),
      (seen) => expect(seen.map(({ state }) => state)).toEqual(['ready', 'ready']),
    )
    return probe
  }

  /** The function of an image that its checks share, one call after another. */
  async of(image: ProbeImage): Promise<Probe> {
    const settings = { maxInstances: 1, keepAlive: 600 }
    return this.once(`image-${image}`, () => this.deploy(`image-${image}`, settings, image))
  }

  /** What `code` returns in the plain image. */
  async inside<T>(code: string): Promise<T> {
    return (await this.of('plain')).inside<T>(code)
  }

  async failure(code: string): Promise<string> {
    return (await this.of('plain')).failure(code)
  }

  /** The web function that tests of web calls use, or the one of tests of calls. */
  async web(fixture: 'web' | 'calls' | 'contract', settings: Settings = {}): Promise<Web> {
    const script = fixture === 'contract' ? '/probe/server.mjs' : `/probe/${fixture}/server.mjs`
    const name = `web-${fixture}`
    const command = { type: 'web', command: ['node', script], concurrency: 20, maxInstances: 1, keepAlive: 600 }
    return this.once(name, async () => new Web(await this.deploy(name, { ...command, ...settings })))
  }

  async record(requestId: string): Promise<InvocationRecord> {
    return (await (await this.api.request('GET', `/v1/invocations/${requestId}`)).json()) as InvocationRecord
  }
}

/** A deployed function of the probe image. */
export class Probe {
  readonly bench: Bench
  readonly name: string

  constructor(bench: Bench, name: string) {
    this.bench = bench
    this.name = name
  }

  call(event: unknown): Promise<CallAnswer> {
    return this.bench.api.call(this.name, event)
  }

  async #ask(code: string): Promise<{ value?: unknown; error?: { code: string | null; message: string } }> {
    const answer = await this.call({ code })
    if (answer.statusCode !== 200)
      throw new Error(`${this.name}: ${answer.statusCode} ${JSON.stringify(answer.result)}`)
    return answer.result as object
  }

  /** What `code` (the body of an async function; the fixture's server says what is in scope) returns inside. */
  async inside<T>(code: string): Promise<T> {
    const { value, error } = await this.#ask(code)
    if (error !== undefined) throw new Error(`inside: ${error.code ?? ''} ${error.message}`)
    return value as T
  }

  /** The error code (`EROFS`) with which `code` fails inside, or `none`. */
  async failure(code: string): Promise<string> {
    const { error } = await this.#ask(code)
    return error === undefined ? 'none' : (error.code ?? error.message)
  }

  /** The same with `call` and `raw`, which make system calls and answer an errno's name. */
  withSystemCalls<T>(code: string): Promise<T> {
    return this.inside<T>(`${SYSCALLS}${code}`)
  }

  async ids(): Promise<string[]> {
    return (await this.bench.api.instances(this.name)).map(({ id }) => id)
  }

  async gone(): Promise<void> {
    await eventually(
      () => this.ids(),
      (seen) => expect(seen).toEqual([]),
    )
  }

  async lines(): Promise<Line[]> {
    const response = await this.bench.api.request('GET', `/v1/namespaces/default/functions/${this.name}/logs`)
    const text = (await response.text()).trim()
    return text === '' ? [] : text.split('\n').map((line) => JSON.parse(line) as Line)
  }

  /** Its own lines once `last` is among them. */
  async printed(last: string): Promise<string[]> {
    const own = async (): Promise<string[]> =>
      (await this.lines()).filter(({ stream }) => stream !== 'platform').map(({ line }) => line)
    await eventually(own, (seen) => expect(seen).toContain(last))
    return own()
  }
}

/** A deployed web function. */
export class Web {
  readonly probe: Probe

  constructor(probe: Probe) {
    this.probe = probe
  }

  get port(): number {
    return this.probe.bench.platform.port
  }

  url(path: string): string {
    return `${this.probe.bench.platform.url}/web/default/${this.probe.name}${path}`
  }

  /** Head of a request to its own host name. */
  head(start: string, ...fields: string[]): string {
    return `${[start, `Host: ${this.probe.name}.default.localhost`, ...fields].join('\r\n')}\r\n\r\n`
  }

  /** Everything that comes back for one request. */
  raw(start: string, fields: readonly string[] = [], body = ''): Promise<string> {
    return sendRaw(this.port, this.head(start, 'Connection: close', ...fields) + body, 20_000)
  }

  /** The echo of a request as the function saw it. */
  async echo(start: string, fields: readonly string[] = [], body = ''): Promise<Echo> {
    const answer = await this.raw(start, fields, body)
    return JSON.parse(/\{.*\}/s.exec(answer)?.[0] ?? '') as Echo
  }
}

export interface Echo {
  method: string
  url: string
  rawHeaders: string[]
  body: string
}

export function fieldsOf({ rawHeaders }: Pick<Echo, 'rawHeaders'>, name: string): string[] {
  return rawHeaders.filter((_value, at) => at % 2 === 1 && rawHeaders[at - 1]?.toLowerCase() === name)
}

/** Processes of this machine whose command line or environment has `mark`, but this one. */
export function processesWith(mark: string): number[] {
  return readdirSync('/proc')
    .map(Number)
    .filter((pid) => pid > 0 && pid !== process.pid)
    .filter((pid) => [`/proc/${pid}/environ`, `/proc/${pid}/cmdline`].some((path) => readQuietly(path).includes(mark)))
}

/** Stops every process of the control group that `pid` is in, or lets them go on. */
export function freeze(pid: number, frozen: boolean): void {
  const groups = readFileSync(`/proc/${pid}/cgroup`, 'utf8')
    .split('\n')
    .map((line) => line.split(':'))
  const old = groups.find(([, controllers]) => controllers === 'freezer')?.[2]
  if (old !== undefined)
    writeFileSync(join('/sys/fs/cgroup/freezer', old, 'freezer.state'), frozen ? 'FROZEN' : 'THAWED')
  else
    writeFileSync(
      join('/sys/fs/cgroup', groups.find(([number]) => number === '0')?.[2] ?? '', 'cgroup.freeze'),
      frozen ? '1' : '0',
    )
}

export function readQuietly(path: string): string {
  try {
    return existsSync(path) ? readFileSync(path, 'latin1') : ''
  } catch {
    return '' // it ended meanwhile, or may not be read
  }
}
