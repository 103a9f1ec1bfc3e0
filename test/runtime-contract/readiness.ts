import { expect } from 'vitest'
import { type Check, eventually } from './bench.ts'
import { NO_LISTENER, unheard } from './network.ts'

export const readiness = {
  H1: async (bench) => {
    const probe = await bench.deploy('h1')
    const waitedMs: number[] = []
    for (let n = 0; n < 3; n += 1) {
      const code =
        'setTimeout(() => process.exit(0), 20); return [seen.firstRequestMs - seen.listenedMs, seen.connections]'
      const [ms, connections] = await probe.inside<[number, number]>(code)
      // The connection that found it listening is the one that the first call comes on.
      expect(connections).toBe(1)
      waitedMs.push(ms)
      await probe.gone()
    }
    // Ten times what is promised, for machines that have other things to do.
    expect(Math.min(...waitedMs)).toBeLessThan(50)
  },
  H2: async (bench) => {
    const probe = await bench.deploy('h2')
    expect(await probe.inside('return seen.requests.length')).toBe(1)
    await eventually(
      async () => (await bench.api.records('h2')).length,
      (seen) => expect(seen).toBe(1),
    )
    expect((await probe.lines()).filter(({ stream }) => stream !== 'platform')).toEqual([])
  },
  H3: async (bench) => {
    const { id, ...answer } = await unheard(bench, 'silent')
    expect(answer).toMatchObject({ statusCode: 446, result: { errorMessage: NO_LISTENER } })
    await eventually(
      () => bench.api.instances(id),
      (seen) => expect(seen).toEqual([]),
    )
  },
  H4: async (bench) => {
    const probe = await bench.deploy('h4', { env: { MODE: 'exits' } })
    const beganMs = performance.now()
    expect(await probe.call({})).toMatchObject({
      statusCode: 405,
      result: { errorMessage: 'the process exited with code 1 before it listened on port 9000' },
    })
    expect(performance.now() - beganMs).toBeLessThan(15_000)
  },
  H5: async (bench) => {
    const probe = await bench.deployTwo('h5', { timeout: 3 })
    const who = (): Promise<string> => probe.inside('await sleep(300); return seen.id ??= crypto.randomUUID()')
    const both = await Promise.all([who(), who()])
    expect(new Set(both).size).toBe(2)
    const before = await probe.ids()
    expect((await probe.call({ code: 'for (;;);' })).statusCode).toBe(433)
    // The one that did not answer is replaced, the other one serves on.
    await eventually(
      () => bench.api.instances(probe.name),
      (seen) => expect(seen.filter(({ id }) => before.includes(id))).toHaveLength(1),
    )
    await eventually(
      async () => (await Promise.all([who(), who()])).filter((id) => both.includes(id)),
      (seen) => expect(seen).toHaveLength(1),
    )
  },
} satisfies Record<string, Check>
