import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { createLogger } from '../common/index.ts'
import { NetworkNamespaces } from '../sandbox/index.ts'
import { Platform } from '../test/helpers/platform.ts'
import { bareFirstByteMs, bareServerOf } from './kit/bare.ts'
import { Caller } from './kit/caller.ts'
import { DockerRun } from './kit/docker-run.ts'
import {
  callEvent,
  eventRequest,
  type Invocation,
  instancesOf,
  sourceOf,
  stopInstance,
  waitingSandboxes,
} from './kit/functions.ts'
import { type Defer, median, quiet, type Row, runScenario, until } from './kit/scenario.ts'

// From the first byte of a call (or the spawn of a server) to the first byte of the answer, image local, one variant after another in turns.

const ROUNDS = Number(process.env['BENCH_ROUNDS'] ?? 15)
const SANDBOXES = 2
/** What a start leaves behind (a refill, copying of output, removal) is over by then. */
const SETTLE_MS = 400
const ONE_CORE_MB = 1280
const TENTH_CORE_MB = 128

const HANDLER = `exports.main_handler = async (event) => ({ hello: event.name ?? 'world' })`

type Variant = 'bare' | 'sandbox' | 'nothing' | 'created' | 'tenth' | 'docker'

/** One platform keeps sandboxes waiting, as by default; the other keeps nothing. */
async function startPlatform(defer: Defer, sandboxes: number): Promise<Platform> {
  const platform = await Platform.start('runc', { sandboxes, logLevel: 'info' })
  defer(() => platform.stop())
  return platform
}

async function deploy(platform: Platform, source: string, name: string, ...settings: string[]): Promise<string> {
  const { imageReference } = await platform.cli<{ imageReference: string }>(
    ...['deploy', source, '--name', name, '--keep-alive', '3600', ...settings],
  )
  return imageReference
}

/** A function that is called cold again and again. */
class ColdFunction {
  readonly #platform: Platform
  readonly #name: string
  readonly #caller: Caller
  readonly phases: Record<string, number[]> = {}

  constructor(platform: Platform, name: string, caller: Caller) {
    this.#platform = platform
    this.#name = name
    this.#caller = caller
  }

  async firstByteMs(): Promise<number> {
    const answer = await callEvent(this.#caller, eventRequest(this.#platform, this.#name, {}))
    const { firstByteMs } = this.#caller
    this.#note(answer, firstByteMs)
    for (const { id, state } of await instancesOf(this.#platform, this.#name)) {
      if (state === 'ready' || state === 'busy') await stopInstance(this.#platform, this.#name, id)
    }
    return firstByteMs
  }

  async hasCreated(): Promise<boolean> {
    const instances = await instancesOf(this.#platform, this.#name)
    return instances.length === 1 && instances[0]?.state === 'created'
  }

  async isCold(): Promise<boolean> {
    return (await instancesOf(this.#platform, this.#name)).length === 0
  }

  /** Median of each phase, in ms. */
  describe(): string {
    const phases = Object.entries(this.phases)
    return phases.map(([name, values]) => `${name} ${median(values).toFixed(1)}`).join(', ')
  }

  /** The phases of the start, then the function's own time, then all that neither knows of. */
  #note({ coldStart, durationMs }: Invocation, firstByteMs: number): void {
    if (coldStart === null) throw new Error(`${this.#name} was warm`)
    const rest = firstByteMs - coldStart.totalMs - durationMs
    for (const [name, ms] of Object.entries({ ...coldStart.phases, call: durationMs, rest })) {
      ;(this.phases[name] ??= []).push(ms)
    }
  }
}

await runScenario(async (defer) => {
  const networks = new NetworkNamespaces(createLogger('bench'))
  const scratch = mkdtempSync(join(tmpdir(), 'slipway-bench-'))
  defer(() => rmSync(scratch, { recursive: true, force: true }))
  const ready = await startPlatform(defer, SANDBOXES)
  const empty = await startPlatform(defer, 0)
  const source = sourceOf(defer, HANDLER)

  const oneCore = ['--memory', String(ONE_CORE_MB)]
  await deploy(ready, source, 'sandbox', ...oneCore)
  await deploy(ready, source, 'tenth', '--memory', String(TENTH_CORE_MB))
  await deploy(ready, source, 'created', ...oneCore, '--prewarm', '1')
  await deploy(empty, source, 'nothing', ...oneCore)
  const image = await deploy(empty, source, 'holder', ...oneCore)

  const docker = await DockerRun.prepare(empty, image.replace(/:[^:/@]+@/, '@'), networks, defer)

  // Opened last: a connection on which nothing is asked for 15 s is closed.
  const toReady = await Caller.open(ready.port)
  const toEmpty = await Caller.open(empty.port)
  const functions = {
    sandbox: new ColdFunction(ready, 'sandbox', toReady),
    tenth: new ColdFunction(ready, 'tenth', toReady),
    created: new ColdFunction(ready, 'created', toReady),
    nothing: new ColdFunction(empty, 'nothing', toEmpty),
  }
  await callEvent(toEmpty, eventRequest(empty, 'holder', {}))
  const holder = (await instancesOf(empty, 'holder'))[0]?.id ?? ''
  const bare = bareServerOf(empty, holder)

  const variants: Record<Variant, (round: number) => Promise<number>> = {
    bare: async (round) => {
      const netns = join(scratch, `netns-${round}`)
      networks.make(netns)
      try {
        return await bareFirstByteMs(bare, networks, netns)
      } finally {
        networks.remove(netns)
      }
    },
    sandbox: () => functions.sandbox.firstByteMs(),
    nothing: () => functions.nothing.firstByteMs(),
    created: () => functions.created.firstByteMs(),
    tenth: () => functions.tenth.firstByteMs(),
    docker: () => docker.firstByteMs(),
  }
  /** The state that a variant begins from, whatever the one before it left. */
  const settled = async (): Promise<void> => {
    await until('all functions cold', async () => {
      const { sandbox, tenth, nothing, created } = functions
      const cold = await Promise.all([sandbox.isCold(), tenth.isCold(), nothing.isCold(), created.hasCreated()])
      return cold.every(Boolean) && waitingSandboxes(ready) === SANDBOXES && waitingSandboxes(empty) === 0
    })
    await sleep(SETTLE_MS)
    await quiet()
  }

  const times: Record<Variant, number[]> = { bare: [], sandbox: [], nothing: [], created: [], tenth: [], docker: [] }
  // The first round fetches images and fills caches.
  for (let round = -1; round < ROUNDS; round += 1) {
    for (const [name, run] of shuffled(Object.entries(variants) as [Variant, (typeof variants)[Variant]][])) {
      await settled()
      const ms = await run(round)
      if (round >= 0) times[name].push(ms)
    }
    if (round === -1) for (const { phases } of Object.values(functions)) for (const name in phases) delete phases[name]
  }
  return rowsOf(times, functions)
})

/** Another order in each round, so that no variant always comes after the same other one. */
function shuffled<T>(items: T[]): T[] {
  const keyed = items.map((item): [number, T] => [Math.random(), item])
  return keyed.toSorted(([a], [b]) => a - b).map(([, item]) => item)
}

function rowsOf(times: Record<Variant, number[]>, functions: Record<string, ColdFunction>): Row[] {
  const ms = (variant: Variant): number => median(times[variant])
  const row = (name: string, above: Variant, below: Variant): Row => {
    const phases = [above, below].map((variant) => functions[variant]?.describe()).filter((text) => text !== undefined)
    const why = phases.length === 0 ? '' : ` (phases, ms: ${phases.join(' / ')})`
    const detail = `${above} ${ms(above).toFixed(1)} ms / ${below} ${ms(below).toFixed(1)} ms, medians, n = ${times[above].length}${why}`
    return { name, value: ms(above) / ms(below), detail }
  }
  return [
    row('cold-start-sandbox', 'sandbox', 'bare'),
    row('cold-start', 'nothing', 'bare'),
    row('cold-start-created', 'created', 'bare'),
    row('docker-run', 'docker', 'sandbox'),
    row('docker-run-created', 'docker', 'created'),
    row('tenth-core', 'tenth', 'sandbox'),
  ]
}
