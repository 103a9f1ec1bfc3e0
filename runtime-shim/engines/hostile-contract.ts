import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { ContractKit, within } from './contract-kit.ts'
import { images } from './hostile-images.ts'
import { answersQuickly, type HostileAccess, type HostileHarness } from './hostile-kit.ts'
import { kernel, network } from './hostile-walls.ts'

export type { HostileHarness } from './hostile-kit.ts'

const MiB = 1024 * 1024

/** What a hostile function may try, and what of it reaches beyond its instance: nothing. Every engine passes it. */
export function hostileContract(name: string, makeHarness: () => Promise<HostileHarness>): void {
  describe(`a hostile function on ${name}`, () => {
    let harness: HostileHarness
    let kit: ContractKit
    const access: HostileAccess = {
      harness: () => harness,
      kit: () => kit,
      asRoot: async (overrides = {}) => {
        const { image } = harness
        const config = { ...image.config, config: { ...image.config.config, User: '0:0' } }
        return kit.probe({ image: { ...image, config }, ...overrides })
      },
    }
    beforeAll(async () => {
      harness = await makeHarness()
      kit = new ContractKit(harness)
      await harness.engine.prepare({
        ...harness.image,
        credential: harness.credential,
        deadlineMs: Date.now() + 60_000,
      })
    })
    afterEach(() => kit.cleanUp())
    afterAll(() => harness?.close())
    exhaustion(access)
    kernel(access)
    network(access)
    images(access)
  })
}

function exhaustion({ harness, kit }: HostileAccess): void {
  it('that forks without end stops at its limit; its neighbour answers and the machine goes on', async () => {
    const neighbour = await kit().probe()
    const bomb = await kit().start({ command: ['/bin/sh', '-c', 'f() { f | f & }; f; sleep 60'], pids: 64 })
    await sleep(500)
    await answersQuickly(neighbour)
    expect((await bomb.stats()).pids).toBeLessThanOrEqual(64)
    await bomb.remove()
    expect(await harness().traces(bomb.id)).toEqual([])
  })

  it('that eats memory dies alone', async () => {
    const neighbour = await kit().probe()
    const code = 'const kept = []; for (;;) kept.push(Buffer.alloc(1 << 20, 1))'
    const eater = await kit().runToEnd(code, { memoryBytes: 64 * MiB })
    expect(await eater.exited).toMatchObject({ oom: true })
    await answersQuickly(neighbour)
    expect(await neighbour.instance.oomKills()).toBe(0)
  })

  it('that fills every writable place takes no more than its volume and its memory, and lives', async () => {
    const probe = await kit().probe({ tmpBytes: 64 * MiB, memoryBytes: 192 * MiB })
    const fill = `const block = Buffer.alloc(1 << 20, 1), written = {}
      for (const file of ['/tmp/full', '/dev/shm/full', '/dev/full-here', '/run/full', '/var/full', '/probe/full']) {
        written[file] = 0
        try {
          const fd = fs.openSync(file, 'w')
          for (; written[file] < 1000; written[file]++) if (fs.writeSync(fd, block) < block.length) break
        } catch (thrown) { if (file === '/tmp/full') written.code = thrown.code }
      }
      return written`
    const written = await probe.eval<Record<string, number | string>>(fill)
    expect(written['code']).toBe('ENOSPC')
    expect(Number(written['/tmp/full'])).toBeLessThanOrEqual(64)
    expect(Number(written['/dev/shm/full'])).toBeLessThanOrEqual(64)
    for (const file of ['/dev/full-here', '/run/full', '/var/full', '/probe/full']) expect(written[file]).toBe(0)
    await answersQuickly(probe)
  })

  it('that writes more files than it has memory is not killed for it', async () => {
    const probe = await kit().probe({ tmpBytes: 256 * MiB, memoryBytes: 96 * MiB })
    const write = `const block = Buffer.alloc(1 << 20, 1), fd = fs.openSync('/tmp/big', 'w')
      for (let i = 0; i < 200; i++) fs.writeSync(fd, block); return fs.fstatSync(fd).size`
    expect(await probe.eval(write)).toBe(200 * MiB)
    expect(await probe.instance.oomKills()).toBe(0)
  })

  it('that floods its output disturbs no neighbour', async () => {
    const neighbour = await kit().probe()
    const code = `const line = 'x'.repeat(1023) + '\\n', fs = require('fs'); for (let i = 0; i < 30000; i++) fs.writeSync(1, line)`
    const flood = await kit().start({ command: ['/usr/bin/node', '-e', code] })
    await answersQuickly(neighbour)
    await within(flood.exited, 30_000, 'end of the flood')
  })
}
