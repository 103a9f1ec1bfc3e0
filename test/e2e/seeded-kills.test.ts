import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { dataPaths } from '../../common/index.ts'
import { Platform } from '../helpers/platform.ts'

const SEED = Number(process.env['SLIPWAY_SEED'] ?? 20_261_121)
const POINTS = Number(process.env['SLIPWAY_KILL_POINTS'] ?? 50)
const WAITING_SANDBOXES = 2

let platform: Platform
let directory: string
beforeAll(async () => {
  platform = await Platform.start()
  directory = mkdtempSync(join(tmpdir(), 'slipway-source-'))
  write('one')
  for (const name of ['keeper', 'short', 'changing'])
    await platform.cli('deploy', directory, '--name', name, '--timeout', '20')
})
afterAll(async () => {
  rmSync(directory, { recursive: true, force: true })
  await platform?.stop()
})

function write(text: string): void {
  writeFileSync(
    join(directory, 'index.js'),
    `let calls = 0
     exports.main_handler = async (event) => {
       calls += 1
       await new Promise((resolve) => setTimeout(resolve, event.waitMs ?? 0))
       return { text: '${text}', calls }
     }`,
  )
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

async function pidOf(role: Role): Promise<number | undefined> {
  if (role !== 'worker') return platform.state()?.[role]?.pid
  const { processes } = await platform.cli<{ processes: { role: string; pid: number }[] }>('status')
  return processes.find((process) => process.role === 'worker')?.pid
}

/** Starts, calls and stops without end; what fails by a kill is expected, what is refused for ever is not. */
function activity(next: () => number, going: () => boolean): Promise<void>[] {
  const callers = Array.from({ length: 4 }, async () => {
    while (going()) {
      await platform
        .invoke('short', { waitMs: Math.floor(next() * 200) }, AbortSignal.timeout(30_000))
        .catch(() => undefined)
    }
  })
  const stopper = async (): Promise<void> => {
    while (going()) {
      await sleep(300 + next() * 700)
      await platform.run('instances', 'stop', 'short').catch(() => undefined)
    }
  }
  return [...callers, stopper()]
}

describe('kill -9 at seeded points', () => {
  it(`leaves nothing that belongs to nobody and loses no running instance (seed ${SEED}, ${POINTS} points)`, async () => {
    const before = await platform.invoke('keeper', {})
    const keeper = (await platform.cli<{ instances: { id: string }[] }>('instances', 'list', 'keeper')).instances[0]?.id
    const next = random(SEED)
    let isGoing = true
    const running = activity(next, () => isGoing)
    for (let point = 0; point < POINTS; point += 1) {
      await sleep(next() * 600)
      const role = (['supervisor', 'server', 'worker'] as const)[Math.floor(next() * 3)] ?? 'server'
      if (role === 'worker') {
        write(`content ${point}`)
        void platform
          .cli('deploy', directory, '--name', 'changing')
          .then(() => platform.invoke('changing', {}))
          .catch(() => undefined)
        await sleep(next() * 1_500)
      }
      const pid = await pidOf(role).catch(() => undefined)
      if (pid !== undefined) kill(pid)
    }
    isGoing = false
    await Promise.all(running)
    await expect.poll(() => platform.isHealthy(), { timeout: 20_000 }).toBe(true)

    const after = await platform.invoke('keeper', {})
    expect(after.body).toMatchObject({ statusCode: 200, coldStart: null })
    expect(count(after)).toBe(count(before) + 1)
    expect((await platform.invoke('short', {})).body).toMatchObject({ statusCode: 200 })

    for (const name of ['short', 'changing', 'keeper']) await platform.run('delete', name)
    await expect.poll(() => platform.instanceDirectories(), { timeout: 40_000, interval: 500 }).toEqual([])
    expect(keeper).toBeDefined()
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
  const monitors = platform.leftovers().filter((line) => line.startsWith('process') && line.includes('conmon'))
  const extra = waiting.size > WAITING_SANDBOXES ? [`${waiting.size} instance directories`] : []
  return [...mounts, ...groups, ...monitors, ...extra]
}
