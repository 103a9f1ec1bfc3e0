import { closeSync, readlinkSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import {
  ContractKit,
  dialKind,
  type EngineHarness,
  listening,
  outputRecords,
  outputUntil,
  Probe,
  streamText,
  within,
} from './contract-kit.ts'
import type { EngineInstance } from './engine.ts'

export type { EngineHarness } from './contract-kit.ts'

const MiB = 1024 * 1024
const EAT_MEMORY = 'const kept = []; for (;;) kept.push(Buffer.alloc(1 << 20, 1))'

/** The suite that every engine passes: `engineContract('runc', () => makeHarness())` inside a test file. */
export function engineContract(name: string, makeHarness: () => Promise<EngineHarness>): void {
  describe(`the ${name} engine`, () => {
    let harness: EngineHarness
    let kit: ContractKit
    const access = { harness: () => harness, kit: () => kit }
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
    imageContract(access)
    connectionContract(access)
    outputContract(access)
    endContract(access)
    resourceContract(access)
    survivalContract(access)
    insideContract(access)
  })
}

interface Access {
  harness: () => EngineHarness
  kit: () => ContractKit
}

function imageContract({ harness, kit }: Access): void {
  describe('images', () => {
    it('are pulled once: a second prepare asks the registry for nothing', async () => {
      const { engine, image, credential } = harness()
      const prepared = await engine.prepare({ ...image, credential, deadlineMs: Date.now() + 60_000 })
      expect(prepared).toMatchObject({ digest: image.digest, pulled: false })
      expect(prepared.config.config?.Entrypoint).toEqual(['/usr/bin/node', '/probe/server.mjs'])
    })

    it('that cannot start because the command is missing say so in the words of the runtime', async () => {
      await expect(kit().start({ command: ['/nope'] })).rejects.toMatchObject({
        code: expect.stringMatching(/^instance-(create|start)-failed$/),
        message: expect.stringContaining('exec: "/nope": stat /nope: no such file or directory'),
      })
    })

    it('that name a user who is not in their passwd file cannot start, and the error names the user', async () => {
      const { image } = harness()
      const config = { ...image.config, config: { ...image.config.config, User: 'nosuchuser' } }
      await expect(kit().start({ image: { ...image, config } })).rejects.toMatchObject({
        code: expect.stringMatching(/^instance-(create|start)-failed$/),
        message: expect.stringMatching(/nosuchuser.*passwd/s),
      })
    })

    it('that failed to start leave nothing once swept', async () => {
      const spec = kit().spec({ command: ['/nope'] })
      const started = harness()
        .engine.create(spec)
        .then((instance) => instance.start())
      await expect(started).rejects.toThrow()
      await harness().engine.sweep(spec.id, spec.directory)
      expect(await harness().traces(spec.id)).toEqual([])
    })
  })
}

function connectionContract({ harness, kit }: Access): void {
  describe('a dial', () => {
    it('connects to a server that listens on all addresses', async () => {
      const probe = await kit().probe()
      expect(await probe.eval('return 6 * 7')).toBe(42)
    })

    it('is refused while nobody listens on the port', async () => {
      const instance = await kit().start({ args: ['never-listen'] })
      expect(await dialKind(instance)).toBe('refused')
    })

    it('is refused by a server that listens on 127.0.0.1 only', async () => {
      const instance = await kit().start({ args: ['loopback-only'] })
      await sleep(500)
      expect(await dialKind(instance)).toBe('refused')
    })

    it('says that the instance is gone after its process ended', async () => {
      const instance = await kit().runToEnd('0')
      expect(await dialKind(instance)).toBe('gone')
    })

    it('finds a full backlog busy, or connects, but never waits for longer than a second', async (context) => {
      if (!harness().engine.capabilities.localDial) return context.skip() // a proxy accepts whatever lies behind it
      const code = `require('net').createServer().listen({ port: 9000, host: '0.0.0.0', backlog: 1 }, () => {
        console.log('listening')
        Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0)
      })`
      const instance = await kit().start({ command: ['/usr/bin/node', '-e', code] })
      await outputUntil(instance, 'stdout', (text) => text.includes('listening'))
      const fds: number[] = []
      let kind = 'connected'
      for (let attempt = 0; attempt < 8 && kind === 'connected'; attempt += 1) {
        const startMs = performance.now()
        const outcome = await instance.dial(9000)
        expect(performance.now() - startMs).toBeLessThan(1_200)
        kind = outcome.kind
        if (outcome.kind === 'connected') fds.push(outcome.fd)
      }
      for (const fd of fds) closeSync(fd)
      expect(kind).toBe('busy')
    })

    it('reaches two instances that run at once, each its own', async () => {
      const [one, other] = await Promise.all([
        kit().probe({ env: { WHO: 'one' } }),
        kit().probe({ env: { WHO: 'other' } }),
      ])
      expect(await one.eval('return process.env.WHO')).toBe('one')
      expect(await other.eval('return process.env.WHO')).toBe('other')
    })
  })
}

function outputContract({ kit }: Access): void {
  const textOf = (instance: EngineInstance, stream: string): string =>
    streamText(outputRecords(instance.outputFile), stream)

  describe('output', () => {
    it('keeps stdout and stderr apart, blank lines, and a last line without end', async () => {
      const instance = await kit().runToEnd(
        `process.stdout.write('one\\n\\nthree\\nno end'); process.stderr.write('error\\n')`,
      )
      expect(textOf(instance, 'stdout').replace(/\n$/, '')).toBe('one\n\nthree\nno end')
      expect(textOf(instance, 'stderr')).toBe('error\n')
    })

    it('carries a line of 1 MiB and invalid UTF-8 byte for byte', async () => {
      const instance = await kit().runToEnd(
        `require('fs').writeSync(1, Buffer.from([0x61, 0xff, 0xc3, 0x28, 0x0a])); console.log('x'.repeat(1 << 20))`,
      )
      expect(textOf(instance, 'stdout')).toBe(`a\u00ff\u00c3(\n${'x'.repeat(1 << 20)}\n`)
    })

    it('is complete although the process ends at once after 10,000 lines', async () => {
      const instance = await kit().runToEnd(
        `let text = ''; for (let i = 0; i < 10000; i++) text += i + '\\n'; require('fs').writeSync(1, text)`,
      )
      expect(textOf(instance, 'stdout')).toBe(Array.from({ length: 10_000 }, (_, i) => `${i}\n`).join(''))
    })

    it('loses no line when its file is rotated while lines are written', async () => {
      const code = `let i = 0; const timer = setInterval(() => { for (let n = 0; n < 500; n++) console.log(i++);
        if (i >= 50000) clearInterval(timer) }, 5)`
      const instance = await kit().start({ command: ['/usr/bin/node', '-e', code] })
      const files: string[] = []
      for (let turn = 0; turn < 3; turn += 1) {
        await sleep(120)
        files.push(await instance.rotateOutput())
      }
      await within(instance.exited, 20_000, 'end of the process')
      const text = [...files, instance.outputFile].map((file) => streamText(outputRecords(file), 'stdout')).join('')
      expect(files[0]).toBe(`${instance.outputFile}.1`)
      expect(text).toBe(Array.from({ length: 50_000 }, (_, i) => `${i}\n`).join(''))
    })

    it('can be reopened by name as some programs do', async () => {
      const instance = await kit().runToEnd(`require('fs').writeFileSync('/dev/stdout', 'by name\\n')`)
      expect(textOf(instance, 'stdout')).toBe('by name\n')
    })
  })
}

function endContract({ harness, kit }: Access): void {
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
      if (!harness().engine.capabilities.freeze) return context.skip()
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

function resourceContract({ harness, kit }: Access): void {
  describe('resources', () => {
    it('are counted: memory, processor time, processes', async () => {
      const probe = await kit().probe()
      await probe.eval('const end = Date.now() + 200; while (Date.now() < end); return 0')
      const stats = await probe.instance.stats()
      expect(stats.memoryBytes).toBeGreaterThan(5 * MiB)
      expect(stats.memoryPeakBytes).toBeGreaterThanOrEqual(stats.memoryBytes)
      expect(stats.cpuNs).toBeGreaterThan(150e6)
      expect(stats.pids).toBeGreaterThan(4)
    })

    it('frozen use no processor time, keep connections waiting, and go on after the thaw', async (context) => {
      if (!harness().engine.capabilities.freeze) return context.skip()
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

function survivalContract({ harness, kit }: Access): void {
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
      if (!harness().engine.capabilities.createAhead) return context.skip()
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

function insideContract({ harness, kit }: Access): void {
  describe('inside, a function finds', () => {
    it('its arguments and environment byte for byte, and nothing of the platform', async () => {
      const odd = ['', 'a b', `q"'$HOME\`x\``, 'ü😀', 'line\nline', '--flag=x']
      const env = { OVERLAID: 'from spec', MULTI: 'a\nb=c"\u{1F600}', EMPTY: '', LONG: 'x'.repeat(32 * 1024) }
      const code = `console.log(JSON.stringify({ argv: process.argv.slice(1), env: process.env }))`
      const instance = await kit().runToEnd('', { command: ['/usr/bin/node', '-e', code, '--'], args: odd, env })
      const text = streamText(outputRecords(instance.outputFile), 'stdout')
      const seen = JSON.parse(Buffer.from(text, 'latin1').toString('utf8')) as { argv: string[]; env: object }
      expect(seen.argv).toEqual(odd)
      expect(seen.env).toMatchObject({ ...env, IMAGE_VARIABLE: 'from image', PATH: '/usr/bin:/bin', HOME: '/' })
      const known = [...Object.keys(env), 'IMAGE_VARIABLE', 'PATH', 'HOME', 'HOSTNAME']
      expect(Object.keys(seen.env).filter((name) => !known.includes(name))).toEqual([])
    })

    it('that command replaces entrypoint and cmd, and args alone replace cmd', async () => {
      const { image } = harness()
      const echo = ['/usr/bin/node', '-e', 'console.log(process.argv.slice(1).join())', '--']
      const config = { ...image.config, config: { ...image.config.config, Entrypoint: [...echo, 'E'], Cmd: ['C'] } }
      const said = async (overrides: { command?: string[]; args?: string[] }): Promise<string> => {
        const instance = await kit().start({ image: { ...image, config }, ...overrides })
        await within(instance.exited, 20_000, 'exit')
        return streamText(outputRecords(instance.outputFile), 'stdout').trim()
      }
      expect(await said({})).toBe('E,C')
      expect(await said({ args: ['A'] })).toBe('E,A')
      expect(await said({ command: [...echo, 'X'] })).toBe('X')
      expect(await said({ command: [...echo, 'X'], args: ['A'] })).toBe('X,A')
    })

    it('itself as process 1 without privilege: no capability, no new privileges, a system call filter', async () => {
      const instance = await kit().start({ command: ['/bin/cat', '/proc/self/status'] })
      await within(instance.exited, 20_000, 'exit')
      const status = streamText(outputRecords(instance.outputFile), 'stdout')
      const field = (name: string): string => new RegExp(`^${name}:[ \\t]*(.*)$`, 'm').exec(status)?.[1] ?? ''
      for (const set of ['CapInh', 'CapPrm', 'CapEff', 'CapBnd', 'CapAmb']) expect(field(set)).toBe('0000000000000000')
      expect(field('NoNewPrivs')).toBe('1')
      expect(field('Seccomp')).toBe('2')
      expect(field('Pid')).toBe('1')
      expect(field('Uid')).toBe('1000\t1000\t1000\t1000')
      expect(field('Gid')).toBe('1000\t1000\t1000\t1000')
      expect(field('Groups')).toMatch(/^(1000)?\s*$/)
      expect(field('Umask')).toBe('0022')
      expect(field('SigBlk')).toBe('0000000000000000')
      expect(field('SigIgn')).toBe('0000000000000000')
    })

    it('the user that the image names, with the groups of that user', async () => {
      const { image } = harness()
      const withUser = async (User: string): Promise<unknown> => {
        const config = { ...image.config, config: { ...image.config.config, User } }
        const probe = await kit().probe({ image: { ...image, config } })
        return probe.eval(`return [process.getuid(), process.getgid(), process.getgroups().sort(), process.env.HOME]`)
      }
      expect(await withUser('probe')).toEqual([1001, 1002, [1002, 1003], '/home/probe'])
      expect(await withUser('1234:1003')).toEqual([1234, 1003, [1003], '/'])
      expect(await withUser('root')).toMatchObject([0, 0, [0], '/root'])
    })

    it('namespaces of its own', async () => {
      const probe = await kit().probe()
      for (const kind of ['pid', 'mnt', 'ipc', 'uts', 'net', 'cgroup']) {
        const inside = await probe.eval(`return fs.readlinkSync('/proc/self/ns/${kind}')`)
        expect(inside).not.toBe(readlinkSync(`/proc/self/ns/${kind}`))
      }
    })

    it('a root that cannot be written', async () => {
      const probe = await kit().probe()
      for (const directory of ['/', '/etc', '/usr/bin', '/probe']) {
        expect(await probe.failure(`fs.writeFileSync('${directory}/x', '')`)).toMatch(/^(EROFS|EACCES)$/)
      }
      const config = { ...harness().image.config, config: { ...harness().image.config.config, User: '0:0' } }
      const root = await kit().probe({ image: { ...harness().image, config } })
      expect(await root.failure(`fs.writeFileSync('/etc/x', '')`)).toBe('EROFS')
    })

    it('an empty /tmp that ends in ENOSPC at its size and is gone in the next instance', async () => {
      const probe = await kit().probe({ tmpBytes: 64 * MiB })
      expect(await probe.eval(`return [fs.readdirSync('/tmp'), fs.statSync('/tmp').mode & 0o7777]`)).toEqual([
        [],
        0o1777,
      ])
      const fill = `const block = Buffer.alloc(1 << 20, 1), fd = fs.openSync('/tmp/full', 'w'); let n = 0
        try { for (; n < 200; n++) fs.writeSync(fd, block) } catch (e) { return [n, e.code] } return [n, 'none']`
      const [written, code] = await probe.eval<[number, string]>(fill)
      expect(code).toBe('ENOSPC')
      expect(written).toBeGreaterThan(48)
      expect(written).toBeLessThanOrEqual(64)
      const next = await kit().probe({ tmpBytes: 64 * MiB })
      expect(await next.eval(`return fs.readdirSync('/tmp')`)).toEqual([])
    })

    it('its own names and devices only', async () => {
      const probe = await kit().probe({ hostname: 'my-host' })
      expect(await probe.eval(`return [os.hostname(), process.cwd()]`)).toEqual(['my-host', '/probe'])
      expect(await probe.eval(`return (await dns.lookup('localhost', { family: 4 })).address`)).toBe('127.0.0.1')
      expect(await probe.eval(`return net.isIP((await dns.lookup('my-host')).address)`)).toBeGreaterThan(0)
      expect(await probe.eval(`return fs.readFileSync('/etc/resolv.conf', 'utf8').includes('search')`)).toBe(false)
      const devices = await probe.eval<string[]>(`return fs.readdirSync('/dev').sort()`)
      const allowed = 'console core fd full mqueue null ptmx pts random shm stderr stdin stdout tty urandom zero'.split(
        ' ',
      )
      expect(devices.filter((name) => !allowed.includes(name))).toEqual([])
      for (const name of [
        'null',
        'zero',
        'full',
        'random',
        'urandom',
        'tty',
        'fd',
        'stdin',
        'stdout',
        'stderr',
        'ptmx',
        'pts',
        'shm',
      ]) {
        expect(devices).toContain(name)
      }
      expect(await probe.failure(`fs.writeFileSync('/dev/shm/x', 'x')`)).toBe('none')
    })

    it('stdin at its end, stdout and stderr, and no other descriptor of the platform', async () => {
      const code = `const fs = require('fs'); const n = fs.readSync(0, Buffer.alloc(1)); const links = []
        for (const fd of fs.readdirSync('/proc/self/fd')) try { links.push(fs.readlinkSync('/proc/self/fd/' + fd)) } catch {}
        console.log(JSON.stringify({ n, tty: [0, 1, 2].map((fd) => require('tty').isatty(fd)), links }))`
      const instance = await kit().runToEnd(code)
      const seen = JSON.parse(streamText(outputRecords(instance.outputFile), 'stdout')) as {
        n: number
        links: string[]
      }
      expect(seen).toMatchObject({ n: 0, tty: [false, false, false] })
      const foreign = seen.links.filter((link) => !/^(pipe:|socket:|anon_inode:|\/dev\/|\/proc\/)/.test(link))
      expect(foreign).toEqual([])
    })

    it('kernel files masked or read-only', async () => {
      const probe = await kit().probe()
      expect(await probe.failure(`fs.writeFileSync('/proc/sys/kernel/hostname', 'x')`)).toMatch(/EROFS|EACCES/)
      expect(await probe.failure(`fs.mkdirSync('/sys/fs/cgroup/x')`)).toMatch(/EROFS|EACCES|ENOENT|EPERM/)
      expect(await probe.failure(`fs.writeFileSync('/sys/kernel/x', 'x')`)).toMatch(/EROFS|EACCES/)
      for (const path of ['/proc/kcore', '/proc/keys', '/proc/timer_list']) {
        const bytes = await probe.eval(`try { return fs.readFileSync('${path}').length } catch { return 0 }`)
        expect(bytes).toBe(0)
      }
    })

    it('its memory limit where runtimes look for it', async () => {
      const probe = await kit().probe({ memoryBytes: 192 * MiB })
      expect(await probe.eval('return process.constrainedMemory()')).toBe(192 * MiB)
    })

    it('no way out of its network namespace', async () => {
      const probe = await kit().probe()
      const code = `return new Promise((resolve) => net.connect(80, '169.254.169.254').on('connect', () => resolve('none'))
        .on('error', (e) => resolve(e.code)).setTimeout(2000, () => resolve('lost')))`
      const outcome = harness().engine.capabilities.localDial ? /ENETUNREACH|EHOSTUNREACH|ECONNREFUSED/ : /^(?!none)/
      expect(await probe.eval(code)).toMatch(outcome)
    })
  })
}
