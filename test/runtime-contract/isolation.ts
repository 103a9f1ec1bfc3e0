import { readlinkSync } from 'node:fs'
import { expect } from 'vitest'
import type { Check } from './bench.ts'
import { plainProcess, statusField } from './start.ts'

const MIB = 1024 * 1024
const NO_CAPABILITY = '0000000000000000'
const CAPABILITY_SETS = ['CapInh', 'CapPrm', 'CapEff', 'CapBnd', 'CapAmb']
const NAMESPACES = ['pid', 'mnt', 'ipc', 'uts', 'net', 'cgroup']

export const isolation = {
  I1: async (bench) => {
    const probe = await bench.deploy('i1', { memory: 256 })
    const files = ['/sys/fs/cgroup/memory.max', '/sys/fs/cgroup/memory/memory.limit_in_bytes']
    const seen = await probe.inside(`const file = ${JSON.stringify(files)}.find((path) => fs.existsSync(path))
      return [Number(fs.readFileSync(file, 'utf8')), process.constrainedMemory()]`)
    expect(seen).toEqual([256 * MIB, 256 * MIB])
  },
  I2: async (bench) => {
    const neighbour = await bench.of('bare')
    const id = await neighbour.inside('return seen.id ??= crypto.randomUUID()')
    const supervisor = bench.platform.state()?.supervisor.pid
    const eater = await bench.deploy('i2', { memory: 128 })
    const eats = 'const kept = []; for (;;) kept.push(Buffer.alloc(1 << 20, 1))'
    expect((await eater.call({ code: eats })).statusCode).toBe(434)
    await eater.gone()
    expect(await neighbour.inside('return seen.id')).toBe(id)
    expect(bench.platform.state()?.supervisor.pid).toBe(supervisor)
  },
  I3: async (bench) => {
    const probe = await bench.deploy('i3', { memory: 640 })
    const burn = `const before = process.cpuUsage(), began = performance.now()
      while (performance.now() - began < 2000);
      const { user, system } = process.cpuUsage(before)
      return (user + system) / 1000 / (performance.now() - began)`
    // Half a core for 640 MB; a busy machine may give less, never more.
    expect(await probe.inside<number>(burn)).toBeLessThan(0.65)
    const quota = `const read = (name) => fs.readFileSync('/sys/fs/cgroup/' + name, 'utf8')
      const [quota, period] = fs.existsSync('/sys/fs/cgroup/cpu.max') ? read('cpu.max').split(' ')
        : [read('cpu/cpu.cfs_quota_us'), read('cpu/cpu.cfs_period_us')]
      return Number(quota) / Number(period)`
    expect(await probe.inside<number>(quota)).toBe(0.5)
  },
  I4: async (bench) => {
    const probe = await bench.deploy('i4')
    const bomb = `const { stderr, status } = childProcess.spawnSync('sh', ['-c', 'i=0; while [ $i -lt 1100 ]; do sleep 20 >/dev/null 2>&1 & i=$((i+1)); done'], { encoding: 'utf8' })
      return [status, stderr]`
    const neighbour = bench.inside('return 1')
    const [status, stderr] = await probe.inside<[number, string]>(bomb)
    expect(status).not.toBe(0)
    expect(stderr).toMatch(/fork|temporarily unavailable/i)
    expect(await neighbour).toBe(1)
    expect(await bench.inside(`return childProcess.spawnSync('true').status`)).toBe(0)
    await bench.api.stop(probe.name)
  },
  I5: async (bench) => {
    const limits = await bench.inside<string>(`return fs.readFileSync('/proc/self/limits', 'utf8')`)
    expect(limits).toMatch(/^Max open files +1024 +1024 /m)
    expect(limits).toMatch(/^Max core file size +0 +0 /m)
    // Counted by control group: the limit by user is none, so that others of the same uid take nothing away.
    const processes = Number(/^Max processes +(\S+)/m.exec(limits)?.[1]?.replace('unlimited', 'Infinity'))
    expect(processes).toBeGreaterThan(1_024)
  },
  I6: async (bench) => {
    const status = await plainProcess(bench)
    for (const set of CAPABILITY_SETS) expect(`${set} ${statusField(status, set)}`).toBe(`${set} ${NO_CAPABILITY}`)
    expect(statusField(status, 'NoNewPrivs')).toBe('1')
    const root = await (await bench.of('root')).inside<string>(`return fs.readFileSync('/proc/self/status', 'utf8')`)
    for (const set of CAPABILITY_SETS) expect(`${set} ${statusField(root, set)}`).toBe(`${set} ${NO_CAPABILITY}`)
    const raised = await bench.inside<string>(
      `return childProcess.execFileSync('/tree/setuid-cat', ['/proc/self/status'], { encoding: 'utf8' })`,
    )
    expect(statusField(raised, 'Uid')).toBe('1000\t1000\t1000\t1000')
    expect(statusField(raised, 'CapEff')).toBe(NO_CAPABILITY)
  },
  I7: async (bench) => {
    expect(statusField(await plainProcess(bench), 'Seccomp')).toBe('2')
    const results = await (await bench.of('root')).withSystemCalls<Record<string, string>>(`
      const results = {
        unshareUser: call('int unshare(int)', 0x10000000), unshareMount: call('int unshare(int)', 0x20000), setns: call('int setns(int, int)', 0, 0),
        mount: call('int mount(const char *, const char *, const char *, long, void *)', 'none', '/tmp', 'tmpfs', 0, null),
        chroot: call('int chroot(const char *)', '/tmp'),
        ptrace: call('long ptrace(int, int, void *, void *)', 16, 1, null, null),
      }
      for (const name of Object.keys(numbers)) results[name] = raw(name)
      return results`)
    for (const name of ['keyctl', 'bpf', 'userfaultfd']) expect(results).toHaveProperty(name)
    for (const [name, code] of Object.entries(results)) expect(`${name}: ${code}`).toMatch(/: (EPERM|ENOSYS|EACCES)$/)
  },
  I8: async (bench) => {
    const read = `${JSON.stringify(NAMESPACES)}.map((kind) => fs.readlinkSync('/proc/self/ns/' + kind))`
    const inside = await bench.inside<string[]>(`return ${read}`)
    const other = await (await bench.of('named')).inside<string[]>(`return ${read}`)
    for (const [at, kind] of NAMESPACES.entries()) {
      expect(inside[at]).toMatch(new RegExp(`^${kind}:`))
      expect([readlinkSync(`/proc/self/ns/${kind}`), other[at]]).not.toContain(inside[at])
    }
  },
  I9: async (bench) => {
    const root = await bench.of('root')
    expect(await root.failure(`fs.mkdirSync('/sys/fs/cgroup/x')`)).toMatch(/EROFS|EACCES|EPERM/)
    for (const name of [
      'cgroup.procs',
      'memory.max',
      'memory/memory.limit_in_bytes',
      'pids/pids.max',
      'memory/release_agent',
    ]) {
      const written = `fs.writeFileSync('/sys/fs/cgroup/${name}', '1', { flag: 'r+' })`
      expect(`${name} ${await root.failure(written)}`).toMatch(/ (EROFS|EACCES|EPERM|ENOENT)$/)
    }
  },
  I10: async (bench) => {
    const before = Date.now()
    const inside = await bench.inside<number>('return Date.now()')
    expect(inside).toBeGreaterThanOrEqual(before - 1)
    expect(inside).toBeLessThanOrEqual(Date.now() + 1)
    expect(await (await bench.of('root')).withSystemCalls(`return raw('settimeofday')`)).toBe('EPERM')
  },
  I11: async (bench) => {
    const probe = await bench.deployTwo('i11')
    const draw = (): Promise<string[]> =>
      probe.inside(
        `await sleep(300); return [crypto.randomUUID(), String(Math.random()), crypto.randomBytes(8).toString('hex')]`,
      )
    const [one, two] = await Promise.all([draw(), draw()])
    expect(await probe.ids()).toHaveLength(2)
    expect(one.filter((value) => two.includes(value))).toEqual([])
    expect(one).toHaveLength(3)
  },
} satisfies Record<string, Check>
