import { setTimeout as sleep } from 'node:timers/promises'
import { expect } from 'vitest'
import { STOP_GRACE_MS } from '../../runtime-shim/instances/limits.ts'
import { type Check, eventually, freeze, processesWith } from './bench.ts'

const FROZEN_MS = 1_000

export const end = {
  E1: async (bench) => {
    const probe = await bench.deploy('e1', { env: { MODE: 'ignores' } })
    await probe.inside('return 1')
    const beganMs = performance.now()
    await bench.api.stop(probe.name)
    await probe.gone()
    expect(performance.now() - beganMs).toBeGreaterThan(STOP_GRACE_MS - 100)
    await probe.printed('got SIGTERM')
  },
  E2: async (bench) => {
    const probe = await bench.deploy('e2', { maxInstances: 1 })
    await probe.inside('return 1')
    const [first] = await probe.ids()
    const inFlight = probe.inside(`await sleep(5000); return 'answered'`)
    await eventually(
      async () => (await bench.api.instances('e2'))[0]?.state,
      (seen) => expect(seen).toBe('busy'),
    )
    // Another version takes over: the instance of the former one is not needed after its call.
    await bench.deploy('e2', { maxInstances: 1, env: { COLOUR: 'red' } })
    expect(await probe.inside('return process.env.COLOUR')).toBe('red')
    expect(await inFlight).toBe('answered')
    await eventually(
      () => probe.ids(),
      (seen) => expect(seen).not.toContain(first),
    )
    expect((await probe.printed('got SIGTERM')).filter((line) => line === 'got SIGTERM')).toHaveLength(1)
  },
  E3: async (bench) => {
    const mark = `e3-${process.pid}-${Date.now()}`
    const probe = await bench.deploy('e3', { env: { MODE: 'ignores', MARK: mark } })
    const child = `childProcess.spawn('sh', ['-c', 'trap "" TERM; sleep 600 & sleep 600'], { detached: true })`
    await probe.inside(`${child}; ${child}`)
    await eventually(
      () => processesWith(mark).length,
      (seen) => expect(seen).toBeGreaterThanOrEqual(7),
    )
    await bench.api.stop(probe.name)
    await probe.gone()
    await eventually(
      () => processesWith(mark),
      (seen) => expect(seen).toEqual([]),
    )
  },
  E4: async (bench) => {
    const probe = await bench.deploy('e4')
    const left = await probe.inside<number>(`for (let n = 0; n < 10; n += 1)
        childProcess.spawnSync('sh', ['-c', 'i=0; while [ $i -lt 100 ]; do i=$((i+1)); (sleep 0 &) ; done'])
      return fs.readdirSync('/proc').filter((name) => /^\\d+$/.test(name)).length - 1`)
    // This image's first process does not wait for children that are not its own; an image that has many brings an init.
    expect(left).toBe(1_000)
    expect(await probe.inside('return 1')).toBe(1)
  },
  E5: async (bench) => {
    const mark = `e5-${process.pid}-${Date.now()}`
    const probe = await bench.deploy('e5', { env: { MARK: mark } })
    await probe.inside(`seen.ticks = [Date.now()]; setInterval(() => seen.ticks.push(Date.now()), 20)`)
    const [pid] = processesWith(mark)
    const inFlight = probe.inside(`await sleep(300); return 'answered'`)
    await eventually(
      async () => (await bench.api.instances('e5'))[0]?.state,
      (seen) => expect(seen).toBe('busy'),
    )
    freeze(pid ?? 0, true)
    try {
      await sleep(FROZEN_MS)
    } finally {
      freeze(pid ?? 0, false)
    }
    expect(await inFlight).toBe('answered')
    const gaps = await probe.inside<number>(
      `return Math.max(...seen.ticks.slice(1).map((tick, at) => tick - seen.ticks[at]))`,
    )
    expect(gaps).toBeGreaterThan(FROZEN_MS * 0.9)
    expect((await probe.call({ code: 'return 1' })).coldStart).toBeNull()
  },
  E6: async (bench) => {
    const probe = await bench.deploy('e6')
    await probe.inside('setTimeout(() => process.exit(0), 50)')
    await probe.gone()
    const next = await probe.call({ code: 'return 1' })
    expect(next).toMatchObject({ statusCode: 200, coldStart: { totalMs: expect.any(Number) } })
  },
  E7: async (bench) => {
    const command = ['node', '/probe/calls/server.mjs']
    const late = await bench.deploy('e7', { command, timeout: 1 })
    await late.call({})
    const began = Date.now()
    const { statusCode, result } = await late.call({ do: 'works', everyMs: 10 })
    // Ten times what is promised (bench: deadline-433, deadline-dead), for machines that have other things to do.
    expect(Date.now() - began - 1_000).toBeLessThan(500)
    expect({ statusCode, result }).toMatchObject({
      statusCode: 433,
      result: { errorMessage: 'Invoking task timed out after 1 seconds' },
    })
    await late.gone()
    const times = (await late.lines()).map(({ line }) => Number(/^at work (\d+)$/.exec(line)?.[1] ?? 0))
    expect(times.filter((time) => time > began).length).toBeGreaterThan(10)
    expect(Math.max(...times) - began - 1_000).toBeLessThan(2_000)

    const shared = await bench.deploy('e7-shared', { command, timeout: 1, concurrency: 2, maxInstances: 1 })
    await shared.call({})
    const [before] = await shared.ids()
    expect((await shared.call({ do: 'waits-or-gone', ms: 30_000 })).statusCode).toBe(433)
    expect(await shared.ids()).toEqual([before])
    await shared.printed('request was reset')
  },
} satisfies Record<string, Check>
