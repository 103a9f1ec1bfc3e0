import { readFileSync } from 'node:fs'
import { createServer, type Server } from 'node:net'
import { networkInterfaces } from 'node:os'
import { setTimeout as sleep } from 'node:timers/promises'
import { expect, it } from 'vitest'
import type { Probe } from './contract-kit.ts'
import { answersQuickly, type HostileAccess, SYSCALLS } from './hostile-kit.ts'

/** What a function tries on the kernel and on the network. */
export function kernel({ kit, asRoot }: HostileAccess): void {
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

export function network({ kit, asRoot }: HostileAccess): void {
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
