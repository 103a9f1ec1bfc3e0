import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { dataPaths, isAlive, type ProcessIdentity } from '../../common/index.ts'
import { Api } from '../helpers/api.ts'
import { buildInProcess } from '../helpers/builds.ts'
import { Platform } from '../helpers/platform.ts'

const SEED = Number(process.env['SLIPWAY_SEED'] ?? 20_261_121)
const POINTS = Number(process.env['SLIPWAY_KILL_POINTS'] ?? 50)
const WAITING_SANDBOXES = 2

let platform: Platform
let api: Api
let directory: string
beforeAll(async () => {
  platform = await Platform.start()
  api = new Api(platform)
  directory = mkdtempSync(join(tmpdir(), 'slipway-source-'))
  const image = await build('one')
  for (const name of ['keeper', 'short', 'changing']) await api.deploy(name, image, { timeout: 20 })
})
afterAll(async () => {
  rmSync(directory, { recursive: true, force: true })
  await platform?.stop()
})

/** An image that no machine has yet. */
async function build(text: string): Promise<string> {
  writeFileSync(
    join(directory, 'index.js'),
    `let calls = 0
     exports.main_handler = async (event) => {
       calls += 1
       await new Promise((resolve) => setTimeout(resolve, event.waitMs ?? 0))
       return { text: '${text}', calls }
     }`,
  )
  return (await buildInProcess(platform, directory, 'seeded')).image
}

/** mulberry32: a small generator, so that a failing run can be repeated by its seed. */
function random(seed: number): () => number {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let t = Math.imul(state ^ (state >>> 15), 1 | state)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296
  }
}

type Role = 'supervisor' | 'server' | 'worker'

interface Point {
  role: Role
  /** Strikes after a call was answered since the kill before; else at once, in what comes back. */
  answering: boolean
  /** How long its process has lived, or the worker has had work, when it is killed. */
  afterMs: number
}

function planned(next: () => number): Point {
  const role = (['supervisor', 'server', 'worker'] as const)[Math.floor(next() * 3)] ?? 'server'
  return { role, answering: next() < 0.5, afterMs: next() * (role === 'worker' ? 400 : 600) }
}

/** The process of this role, once there is one. */
async function victim(role: Role): Promise<number> {
  for (const untilMs = Date.now() + 20_000; Date.now() < untilMs; await sleep(20)) {
    const pid = role === 'worker' ? workerOf(platform.dataDirectory) : livingPid(role)
    if (pid !== undefined) return pid
  }
  throw new Error(`there is no ${role}: ${platform.logs()}`)
}

function livingPid(role: 'supervisor' | 'server'): number | undefined {
  const found = platform.state()?.[role] as ProcessIdentity | null | undefined
  return found != null && isAlive(found) ? found.pid : undefined
}

/** The content worker of a data directory. */
function workerOf(dataDirectory: string): number | undefined {
  const pids = readdirSync('/proc').filter((name) => /^[0-9]+$/.test(name))
  return pids.map(Number).find((pid) => {
    try {
      const command = readFileSync(`/proc/${pid}/cmdline`, 'utf8')
      return command.includes('worker-main.ts') && command.includes(dataDirectory)
    } catch {
      return false
    }
  })
}

/** Has an image pulled that is not local, whatever is killed meanwhile. */
async function deployed(image: string): Promise<void> {
  for (const untilMs = Date.now() + 20_000; Date.now() < untilMs; await sleep(50)) {
    try {
      await api.deploy('changing', image)
      await platform.invoke('changing', {}, AbortSignal.timeout(5_000))
      return
    } catch {
      // What answered was killed.
    }
  }
}

interface Tally {
  calls: number
  stops: number
}

/** Starts, calls and stops without end; what fails by a kill is expected, what is refused for ever is not. */
function activity(next: () => number, going: () => boolean, tally: Tally): Promise<void>[] {
  const callers = Array.from({ length: 4 }, async () => {
    while (going()) {
      const event = { waitMs: Math.floor(next() * 200) }
      const answer = await platform.invoke('short', event, AbortSignal.timeout(30_000)).catch(() => undefined)
      if (answer?.status === 200) tally.calls += 1
    }
  })
  const stopper = async (): Promise<void> => {
    while (going()) {
      await sleep(300 + next() * 700)
      const stopped = await api.stop('short').catch(() => undefined)
      tally.stops += stopped?.stopped ?? 0
    }
  }
  return [...callers, stopper()]
}

describe('kill -9 at seeded points', () => {
  it(`leaves nothing that belongs to nobody and loses no running instance (seed ${SEED}, ${POINTS} points)`, async () => {
    const before = await platform.invoke('keeper', {})
    const next = random(SEED)
    const plan = Array.from({ length: POINTS }, () => planned(next))
    const images: string[] = []
    for (const { role } of plan) if (role === 'worker') images.push(await build(`content ${images.length}`))
    let isGoing = true
    const tally: Tally = { calls: 0, stops: 0 }
    const running = activity(next, () => isGoing, tally)
    for (const { role, answering, afterMs } of plan) {
      const before = tally.calls
      if (answering) await expect.poll(() => tally.calls, { timeout: 30_000, interval: 20 }).toBeGreaterThan(before)
      if (role === 'worker') void deployed(images.pop() ?? '')
      const pid = await victim(role)
      await sleep(afterMs)
      kill(pid)
    }
    isGoing = false
    await Promise.all(running)
    expect(tally.stops).toBeGreaterThan(0)
    await expect.poll(() => platform.isHealthy(), { timeout: 20_000 }).toBe(true)

    const after = await platform.invoke('keeper', {})
    expect(after.body).toMatchObject({ statusCode: 200, coldStart: null })
    expect(count(after)).toBe(count(before) + 1)
    expect((await platform.invoke('short', {})).body).toMatchObject({ statusCode: 200 })

    for (const name of ['short', 'changing', 'keeper']) await api.remove(name)
    await expect.poll(() => platform.instanceDirectories(), { timeout: 40_000, interval: 500 }).toEqual([])
    await expect.poll(() => traces(), { timeout: 20_000, interval: 500 }).toEqual([])
  }, 400_000)
})

function kill(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL')
  } catch {
    // It was being replaced just now.
  }
}

function count(answer: { body: Record<string, unknown> }): number {
  return (answer.body['result'] as { calls: number }).calls
}

/** What is left of instances anywhere on the machine, beyond the sandboxes that wait. */
function traces(): string[] {
  const paths = dataPaths(platform.dataDirectory)
  const waiting = new Set(readdirSync(paths.instances))
  const foreign = (id: string): boolean => !waiting.has(id)
  const mounts = readFileSync('/proc/self/mountinfo', 'utf8')
    .split('\n')
    .map((line) => line.split(' ')[4] ?? '')
    .filter((path) => path.startsWith(`${paths.instances}/`))
    .filter((path) => foreign(path.slice(paths.instances.length + 1).split('/')[0] ?? ''))
  const groups = readdirSync('/sys/fs/cgroup').flatMap((controller) => {
    const own = join('/sys/fs/cgroup', controller, `slipway-${paths.hash}`)
    if (!existsSync(own)) return []
    return readdirSync(own, { withFileTypes: true })
      .filter((entry) => entry.isDirectory() && /^[0-9a-f]{16}$/.test(entry.name) && foreign(entry.name))
      .map((entry) => join(own, entry.name))
  })
  // A sandbox that waits has its monitor already.
  const monitors = platform
    .leftovers()
    .filter((line) => line.startsWith('process') && line.includes('conmon'))
    .filter((line) => foreign(/ -c ([0-9a-f]{16}) /.exec(line)?.[1] ?? ''))
  const extra = waiting.size > WAITING_SANDBOXES ? [`${waiting.size} instance directories`] : []
  return [...mounts, ...groups, ...monitors, ...extra]
}
