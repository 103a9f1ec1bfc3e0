import { setTimeout as sleep } from 'node:timers/promises'
import { describe, expect, it } from 'vitest'
import {
  type Access,
  dialKind,
  listening,
  outputRecords,
  outputUntil,
  Probe,
  streamText,
  within,
} from './contract-kit.ts'

const MiB = 1024 * 1024
const EAT_MEMORY = 'const kept = []; for (;;) kept.push(Buffer.alloc(1 << 20, 1))'

export function endContract({ harness, kit }: Access): void {
  describe('the end of an instance', () => {
    it('tells the exit code', async () => {
      const instance = await kit().runToEnd('process.exit(3)')
      expect(await instance.exited).toEqual({ code: 3, signal: null, oom: false })
    })

    it('by a stop is the exit of a process that honours SIGTERM', async () => {
      const { instance } = await kit().probe()
      expect(await instance.stop(5_000)).toEqual({ code: 0, signal: null, oom: false })
      expect(streamText(outputRecords(instance.outputFile), 'stdout')).toContain('got SIGTERM\n')
    })

    it('uses the stop signal of the image', async () => {
      const { image } = harness()
      const config = { ...image.config, config: { ...image.config.config, StopSignal: 'SIGUSR1' } }
      const { instance } = await kit().probe({ image: { ...image, config } })
      expect(await instance.stop(5_000)).toMatchObject({ code: 10, oom: false })
    })

    it('comes by SIGKILL after the grace time for a process that ignores SIGTERM, and takes its children along', async () => {
      const probe = await kit().probe({ args: ['ignore-sigterm'] })
      await probe.eval(`childProcess.spawn('/bin/sleep', ['600'], { detached: true })`)
      const startMs = performance.now()
      const end = await probe.instance.stop(300)
      expect(end).toEqual({ code: 137, signal: 'SIGKILL', oom: false })
      expect(performance.now() - startMs).toBeGreaterThan(280)
      await probe.instance.remove()
      expect(await harness().traces(probe.instance.id)).toEqual([])
    })

    it('comes although the instance is frozen', async (context) => {
      if (!harness().engine.capabilities.freeze) context.skip()
      const { instance } = await kit().probe({ args: ['ignore-sigterm'] })
      await instance.freeze()
      expect(await within(instance.stop(100), 10_000, 'stop')).toMatchObject({ code: 137 })
    })

    it('comes before its first instruction when it is stopped while only created', async () => {
      const instance = await kit().create()
      await within(instance.stop(100), 10_000, 'stop')
      await instance.remove()
      expect(await harness().traces(instance.id)).toEqual([])
    })

    it('for lack of memory is told from an exit', async () => {
      const instance = await kit().runToEnd(EAT_MEMORY, { memoryBytes: 64 * MiB })
      expect(await instance.exited).toEqual({ code: 137, signal: 'SIGKILL', oom: true })
      expect(await instance.oomKills()).toBeGreaterThan(0)
    })

    it('does not come when only a child is killed for memory, which is counted', async () => {
      const probe = await kit().probe({ memoryBytes: 192 * MiB })
      expect(await probe.instance.oomKills()).toBe(0)
      const signal = await probe.eval(
        `return new Promise((resolve) => childProcess.spawn('/usr/bin/node', ['-e', ${JSON.stringify(EAT_MEMORY)}])
          .on('exit', (code, signal) => resolve(signal)))`,
      )
      expect(signal).toBe('SIGKILL')
      expect(await probe.instance.oomKills()).toBeGreaterThan(0)
      expect(await probe.eval('return 1')).toBe(1)
      expect(await probe.instance.stop(5_000)).toMatchObject({ code: 0, oom: false })
    })
  })
}

export function resourceContract({ harness, kit }: Access): void {
  describe('resources', () => {
    it('are counted: memory, processor time, processes', async () => {
      const probe = await kit().probe()
      await probe.eval('const start = process.cpuUsage(); while (process.cpuUsage(start).user < 200_000); return 0')
      const stats = await probe.instance.stats()
      expect(stats.memoryBytes).toBeGreaterThan(5 * MiB)
      expect(stats.memoryPeakBytes).toBeGreaterThanOrEqual(stats.memoryBytes)
      expect(stats.cpuNs).toBeGreaterThan(150e6)
      expect(stats.pids).toBeGreaterThan(4)
    })

    it('frozen use no processor time, keep connections waiting, and go on after the thaw', async (context) => {
      if (!harness().engine.capabilities.freeze) context.skip()
      const probe = await kit().probe()
      await probe.instance.freeze()
      const { cpuNs } = await probe.instance.stats()
      let answered = false
      const answer = probe.eval<number>('return 5').then((value) => {
        answered = true
        return value
      })
      await sleep(200)
      expect(answered).toBe(false)
      expect((await probe.instance.stats()).cpuNs).toBe(cpuNs)
      await probe.instance.thaw()
      expect(await answer).toBe(5)
    })

    it('give a processor share once it is applied', async () => {
      const probe = await kit().probe({ cpus: 0.2 })
      const spin = 'const start = process.cpuUsage(); const end = Date.now() + 1000; while (Date.now() < end); '
      await probe.instance.applyCpuLimit()
      const used = await probe.eval<number>(`${spin} return process.cpuUsage(start).user`)
      expect(used).toBeLessThan(400_000)
    })

    it('end a fork bomb at the limit of processes, and the instance answers afterwards', async () => {
      const probe = await kit().probe({ pids: 40 })
      const started = await probe.eval<number>(`const children = []
        for (let i = 0; i < 100; i++) {
          const child = childProcess.spawn('/bin/sleep', ['30']); child.on('error', () => {})
          if (child.pid !== undefined) children.push(child)
        }
        for (const child of children) child.kill('SIGKILL')
        return children.length`)
      expect(started).toBeLessThan(40)
      expect(await probe.eval('return 1')).toBe(1)
    })

    it('bound the open files and allow no core dump', async () => {
      const probe = await kit().probe({ openFiles: 512 })
      const limits = await probe.eval<string>(`return fs.readFileSync('/proc/self/limits', 'utf8')`)
      expect(limits).toMatch(/Max open files +512 +512/)
      expect(limits).toMatch(/Max core file size +0 +0/)
    })
  })
}

export function survivalContract({ harness, kit }: Access): void {
  describe('an instance survives its maker', () => {
    it('is adopted by another engine object and serves, tells its end and its output', async () => {
      const spec = kit().spec()
      const first = await harness().engine.create(spec)
      await first.start()
      await listening(first)
      const adopted = await (await harness().reopen()).adopt(spec)
      if (adopted === undefined) throw new Error('not adopted')
      expect(await new Probe(adopted).eval('console.log("after adoption"); return 1')).toBe(1)
      await outputUntil(adopted, 'stdout', (text) => text.includes('after adoption'))
      await adopted.stop(5_000)
      expect(await within(first.exited, 5_000, 'exit at the first engine')).toMatchObject({ code: 0 })
    })

    it('is adopted although the process that made it was killed, without losing a line', async () => {
      const code = `let i = 0; setInterval(() => console.log(i++), 5)`
      const spec = kit().spec({ command: ['/usr/bin/node', '-e', code] })
      await harness().createInKilledProcess(spec)
      const adopted = await (await harness().reopen()).adopt(spec)
      if (adopted === undefined) throw new Error('not adopted')
      await outputUntil(adopted, 'stdout', (text) => text.includes('\n100\n'))
      await adopted.stop(0)
      const lines = streamText(outputRecords(adopted.outputFile), 'stdout').split('\n').slice(0, -1)
      expect(lines).toEqual(lines.map((_, i) => String(i)))
    })

    it('can be adopted while it is created and not started, and then starts', async (context) => {
      if (!harness().engine.capabilities.createAhead) context.skip()
      const spec = kit().spec()
      await harness().engine.create(spec)
      const adopted = await (await harness().reopen()).adopt(spec)
      if (adopted === undefined) throw new Error('not adopted')
      await adopted.start()
      await listening(adopted)
    })

    it('but is not adopted once its process has ended', async () => {
      const spec = kit().spec({ command: ['/usr/bin/node', '-e', '0'] })
      const instance = await harness().engine.create(spec)
      await instance.start()
      await instance.exited
      expect(await (await harness().reopen()).adopt(spec)).toBeUndefined()
    })

    it('refuses a second instance of the same id', async () => {
      const spec = kit().spec({ args: ['never-listen'] })
      const instance = await harness().engine.create(spec)
      await expect(harness().engine.create(spec)).rejects.toMatchObject({ code: 'instance-exists' })
      await instance.start()
      expect(await dialKind(instance)).toBe('refused')
    })

    it('is found as a stray, and a sweep removes every trace of it, twice without harm', async () => {
      const { instance } = await kit().probe()
      const { directory } = kit().spec({ id: instance.id })
      const other = await harness().reopen()
      expect(await other.strays()).toContain(instance.id)
      await other.sweep(instance.id, directory)
      await other.sweep(instance.id, directory)
      expect(await other.strays()).not.toContain(instance.id)
      expect(await harness().traces(instance.id)).toEqual([])
    })

    it('removes every trace, also while it runs, twice without harm', async () => {
      const { instance } = await kit().probe()
      await instance.remove()
      await instance.remove()
      expect(await harness().traces(instance.id)).toEqual([])
      expect(await within(instance.exited, 5_000, 'exit')).toMatchObject({ code: 137 })
    })
  })
}
