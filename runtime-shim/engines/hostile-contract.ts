import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { createServer, type Server } from 'node:net'
import { networkInterfaces, tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import type { ContainerConfig } from '../../oci/index.ts'
import { ContractKit, type EngineHarness, type Probe, within } from './contract-kit.ts'
import type { InstanceSpec } from './engine.ts'

const MiB = 1024 * 1024

/** A harness that can also make images: `fill` puts what it likes into a layer above the probe's. */
export interface HostileHarness extends EngineHarness {
  makeImage(fill: (directory: string) => void, config?: ContainerConfig): Promise<InstanceSpec['image']>
}

/** In scope of code inside: `call(function, ...numbers)` and `raw(name, ...numbers)` answer an errno name, or `none`. */
const SYSCALLS = `
  const koffi = require('koffi'), libc = koffi.load(null)
  const errno = (result) => Number(result) >= 0 ? 'none'
    : Object.entries(os.constants.errno).find(([, number]) => number === koffi.errno())?.[0] ?? String(koffi.errno())
  const call = (signature, ...args) => errno(libc.func(signature)(...args))
  const numbers = process.arch === 'arm64'
    ? { keyctl: 219, add_key: 217, request_key: 218, bpf: 280, perf_event_open: 241, userfaultfd: 282, init_module: 105,
        finit_module: 273, kexec_load: 104, open_by_handle_at: 265, pivot_root: 41, swapon: 224, settimeofday: 170, quotactl: 60 }
    : { keyctl: 250, add_key: 248, request_key: 249, bpf: 321, perf_event_open: 298, userfaultfd: 323, init_module: 175,
        finit_module: 313, kexec_load: 246, open_by_handle_at: 304, pivot_root: 155, swapon: 167, settimeofday: 164, quotactl: 179 }
  const syscall = libc.func('long syscall(long, long, long, long, long, long)')
  const raw = (name) => errno(syscall(numbers[name], 0, 0, 0, 0, 0))
`

/** What a hostile function may try, and what of it reaches beyond its instance: nothing. Every engine passes it. */
export function hostileContract(name: string, makeHarness: () => Promise<HostileHarness>): void {
  describe(`a hostile function on ${name}`, () => {
    let harness: HostileHarness
    let kit: ContractKit
    const access: Access = {
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

interface Access {
  harness: () => HostileHarness
  kit: () => ContractKit
  /** A probe that runs as uid 0 inside, which has no capability. */
  asRoot: (overrides?: Partial<InstanceSpec>) => Promise<Probe>
}

/** Two calls in a row within a second each: what an undisturbed neighbour answers. */
async function answersQuickly(probe: Probe): Promise<void> {
  for (let call = 0; call < 2; call += 1) expect(await within(probe.eval('return 1'), 1_000, 'answer')).toBe(1)
}

function exhaustion({ harness, kit }: Access): void {
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

function kernel({ kit, asRoot }: Access): void {
  it('finds nothing of the kernel to write to, even as uid 0', async () => {
    const before = readFileSync('/proc/sys/kernel/core_pattern', 'utf8')
    const probe = await asRoot()
    const files = [
      '/proc/sys/kernel/core_pattern',
      '/proc/sys/kernel/modprobe',
      '/proc/sys/vm/panic_on_oom',
      '/proc/sysrq-trigger',
      '/proc/irq/default_smp_affinity',
      '/sys/kernel/uevent_helper',
      '/sys/power/state',
      '/sys/fs/cgroup/memory/release_agent',
      '/sys/fs/cgroup/memory/memory.limit_in_bytes',
      '/sys/fs/cgroup/memory.max',
      '/sys/fs/cgroup/cgroup.procs',
    ]
    for (const file of files) {
      const failure = await probe.failure(`fs.writeFileSync('${file}', 'x', { flag: 'r+' })`)
      expect(`${file}: ${failure}`).toMatch(/: (EROFS|EACCES|EPERM|ENOENT)$/)
    }
    expect(await probe.failure(`fs.writeFileSync('/proc/self/oom_score_adj', '-1000')`)).toMatch(/EACCES|EPERM|EROFS/)
    expect(readFileSync('/proc/sys/kernel/core_pattern', 'utf8')).toBe(before)
  })

  it('is refused every system call that mounts, makes namespaces, keeps keys or loads code into the kernel', async () => {
    const probe = await asRoot()
    const results = await probe.eval<Record<string, string>>(`${SYSCALLS}
      const NEWUSER = 0x10000000, NEWNS = 0x20000, NEWNET = 0x40000000
      const results = {
        unshareUser: call('int unshare(int)', NEWUSER), unshareMount: call('int unshare(int)', NEWNS),
        unshareNet: call('int unshare(int)', NEWNET), setns: call('int setns(int, int)', 0, 0),
        mount: call('int mount(const char *, const char *, const char *, long, void *)', 'none', '/tmp', 'tmpfs', 0, null),
        umount: call('int umount2(const char *, int)', '/proc', 2),
        chroot: call('int chroot(const char *)', '/tmp'),
        mknod: call('int mknod(const char *, int, long)', '/tmp/disk', 0o60666, (8 << 8)),
        reboot: call('int reboot(int)', 0x1234567),
      }
      for (const name of Object.keys(numbers)) results[name] = raw(name)
      return results`)
    for (const [name, errno] of Object.entries(results)) expect(`${name}: ${errno}`).toMatch(/: (EPERM|ENOSYS|EACCES)$/)
  })

  it('sees no process but its own, and cannot signal or trace any other', async () => {
    const probe = await asRoot()
    const pids = await probe.eval<string[]>(`return fs.readdirSync('/proc').filter((name) => /^\\d+$/.test(name))`)
    expect(pids).toEqual(['1'])
    expect(await probe.failure(`process.kill(${process.pid}, 0)`)).toBe('ESRCH')
    const traced = await probe.eval(
      `${SYSCALLS} return call('long ptrace(int, int, void *, void *)', 16, ${process.pid}, null, null)`,
    )
    expect(traced).toMatch(/ESRCH|EPERM/)
  })

  it('that kills all it can reach kills nobody else', async () => {
    const neighbour = await kit().probe()
    const killer = await asRoot()
    await killer.eval(`setTimeout(() => { try { process.kill(-1, 'SIGKILL') } catch {} }, 10); return 1`)
    await sleep(100)
    await answersQuickly(neighbour)
  })

  it('gains nothing by a setuid program', async () => {
    const probe = await kit().probe()
    const status = await probe.eval<string>(
      `return childProcess.execFileSync('/bin/setuid-cat', ['/proc/self/status'], { encoding: 'utf8' })`,
    )
    expect(status).toMatch(/^Uid:\t1000\t1000\t1000\t1000$/m)
    expect(status).toMatch(/^CapEff:\t0000000000000000$/m)
  })

  it('cannot open a disk of the machine', async () => {
    const probe = await asRoot()
    const seen = await probe.eval<string[]>(
      `return fs.readdirSync('/dev').filter((name) => fs.statSync('/dev/' + name).isBlockDevice())`,
    )
    expect(seen).toEqual([])
  })
}

function network({ kit, asRoot }: Access): void {
  const connectFrom = (probe: Probe, host: string, port: number): Promise<string> =>
    probe.eval(`return new Promise((resolve) => {
      const socket = net.connect(${port}, '${host}')
      socket.setTimeout(1500, () => { socket.destroy(); resolve('silence') })
      socket.on('connect', () => { socket.destroy(); resolve('connected') })
      socket.on('error', (thrown) => resolve(thrown.code))
    })`)

  it('reaches no address outside: not the metadata service, not the internet', async () => {
    const probe = await kit().probe()
    for (const host of ['169.254.169.254', '100.100.100.200', '169.254.0.23', '1.1.1.1', '10.0.0.1', 'fd00:ec2::254']) {
      expect(`${host} ${await connectFrom(probe, host, 80)}`).not.toContain('connected')
    }
  })

  it('reaches no port of the machine it runs on, on any of its addresses', async () => {
    const server = await listen()
    try {
      const address = server.address()
      const port = address === null || typeof address === 'string' ? 0 : address.port
      const own = Object.values(networkInterfaces()).flatMap((entries) => entries ?? [])
      const hosts = new Set([
        '127.0.0.1',
        '172.17.0.1',
        ...own.filter(({ family }) => family === 'IPv4').map((entry) => entry.address),
      ])
      const probe = await kit().probe()
      for (const host of hosts) expect(`${host} ${await connectFrom(probe, host, port)}`).not.toContain('connected')
    } finally {
      server.close()
    }
  })

  it('reaches no abstract unix socket of the machine', async () => {
    const name = `slipway-hostile-${process.pid}`
    const server = createServer().listen(`\0${name}`)
    try {
      const probe = await kit().probe()
      expect(
        await probe.failure(
          `await new Promise((resolve, reject) => net.connect('\\0${name}').on('connect', resolve).on('error', reject))`,
        ),
      ).toMatch(/ECONNREFUSED|ENOENT/)
    } finally {
      server.close()
    }
  })

  it('cannot make raw or packet sockets or change its network, even as uid 0', async () => {
    const probe = await asRoot()
    const results = await probe.eval<Record<string, string>>(`${SYSCALLS}
      const socket = 'int socket(int, int, int)'
      const request = Buffer.alloc(40); request.write('lo')
      const fd = libc.func(socket)(2, 2, 0)
      return { raw: call(socket, 2, 3, 1), raw6: call(socket, 10, 3, 58), packet: call(socket, 17, 3, 0),
        downLo: call('int ioctl(int, unsigned long, uint8_t *)', fd, 0x8914, request) }`)
    for (const [name, errno] of Object.entries(results)) expect(`${name}: ${errno}`).toMatch(/: (EPERM|EACCES)$/)
  })

  async function listen(): Promise<Server> {
    const server = createServer((socket) => socket.destroy())
    await new Promise<void>((resolve) => server.listen(0, '0.0.0.0', resolve))
    return server
  }
}

function images({ harness, kit }: Access): void {
  describe('whose image is full of links aimed at the platform', () => {
    let canary: string
    beforeAll(() => {
      canary = mkdtempSync(join(tmpdir(), 'slipway-canary-'))
      mkdirSync(join(canary, 'directory'))
      writeFileSync(join(canary, 'passwd'), 'canaryuser:x:4321:4321::/:/bin/sh\n')
      writeFileSync(join(canary, 'text'), 'untouched')
    })
    afterAll(() => rmSync(canary, { recursive: true }))

    const link = (directory: string, path: string, target: string): void => {
      mkdirSync(join(directory, path, '..'), { recursive: true })
      rmSync(join(directory, path), { force: true })
      symlinkSync(target, join(directory, path))
    }
    const unchanged = (): void => {
      expect(readdirSync(canary).sort()).toEqual(['directory', 'passwd', 'text'])
      expect(readdirSync(join(canary, 'directory'))).toEqual([])
      expect(readFileSync(join(canary, 'text'), 'utf8')).toBe('untouched')
      expect(statSync(join(canary, 'text')).mode & 0o777).toBe(0o644)
    }

    it('puts nothing where its mount points point to', async () => {
      const up = '../../../../../../../../../..'
      const image = await harness().makeImage((directory) => {
        for (const path of ['etc/hosts', 'etc/resolv.conf', 'etc/hostname'])
          link(directory, path, `${up}${canary}/text`)
        link(directory, 'tmp', `${up}${canary}/directory`)
        link(directory, 'run', `${canary}/directory`)
      })
      const spec = kit().spec({ image })
      const outcome = await harness()
        .engine.create(spec)
        .then(async (instance) => {
          await instance.start()
          await sleep(200)
          return 'started'
        })
        .catch(() => 'refused')
      expect(['started', 'refused']).toContain(outcome)
      unchanged()
    })

    it('whose /proc, /sys, /dev are links leads no mount out of its root', async () => {
      const image = await harness().makeImage((directory) => {
        for (const path of ['proc', 'sys', 'dev']) link(directory, path, `${canary}/directory`)
      })
      const started = kit().start({ image })
      await started.catch(() => undefined)
      unchanged()
    })

    it('has no user read out of the passwd file of the machine', async () => {
      const image = await harness().makeImage((directory) => link(directory, 'etc/passwd', `${canary}/passwd`), {
        User: 'canaryuser',
      })
      await expect(kit().start({ image })).rejects.toThrow(/canaryuser/)
    })

    it('has no working directory outside its root', async () => {
      const image = await harness().makeImage((directory) => link(directory, 'work', canary), { WorkingDir: '/work' })
      const started = kit().start({
        image,
        command: ['/usr/bin/node', '-e', `require('fs').writeFileSync('text', 'touched')`],
      })
      await started.then((instance) => within(instance.exited, 20_000, 'exit')).catch(() => undefined)
      unchanged()
    })
  })
}
