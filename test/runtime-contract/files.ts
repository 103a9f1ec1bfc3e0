import { expect } from 'vitest'
import type { Check } from './bench.ts'
import { FILE_CAPABILITY, OWNED } from './image.ts'

const READ_ONLY = /^(EROFS|EACCES)$/
const MASKED = ['/proc/kcore', '/proc/keys', '/proc/sched_debug', '/proc/timer_list']
const DEVICES = 'fd full null ptmx pts random shm stderr stdin stdout tty urandom zero'.split(' ')
/** Made by engines for every container; a console has nothing behind it without a terminal. */
const DEVICES_OF_ENGINES = ['core', 'console', 'mqueue']
const WRITE = (path: string): string => `fs.writeFileSync('${path}', 'x')`
const CANARY = `const before = fs.readdirSync('/tmp')
  fs.writeFileSync('/tmp/canary-' + crypto.randomUUID(), '')
  await sleep(400)
  return { before, after: fs.readdirSync('/tmp').length }`

interface Seen {
  before: string[]
  after: number
}

export const files = {
  C1: async (bench) => {
    const probe = await bench.deploy('c1')
    expect(await probe.inside(`return [fs.readdirSync('/tmp'), fs.statSync('/tmp').mode & 0o7777]`)).toEqual([
      [],
      0o1777,
    ])
    expect(await probe.failure(WRITE('/tmp/x'))).toBe('none')
  },
  C2: async (bench) => {
    expect(await (await bench.of('root')).failure(WRITE('/var/log/x'))).toBe('EROFS')
  },
  C3: async (bench) => {
    const root = await bench.of('root')
    for (const place of ['', '/etc', '/usr', '/usr/bin', '/var', '/probe', '/tree']) {
      expect(`${place} ${await root.failure(WRITE(`${place}/x`))}`).toBe(`${place} EROFS`)
      expect(await bench.failure(WRITE(`${place}/x`))).toMatch(READ_ONLY)
    }
    expect(await root.inside('return 1')).toBe(1)
  },
  C4: async (bench) => {
    const probe = await bench.deploy('c4')
    const seen = await probe.withSystemCalls(`
      const fd = fs.openSync('/tmp/full', 'w')
      const allocate = (megabytes) => call('int fallocate(int, int, long, long)', fd, 0, 0, megabytes << 20)
      const results = [allocate(440), allocate(520)]
      const rest = fs.openSync('/tmp/rest', 'w')
      try { for (;;) fs.writeSync(rest, Buffer.alloc(1 << 20)) } catch (thrown) { results.push(thrown.code) }
      return results`)
    expect(seen).toEqual(['none', 'ENOSPC', 'ENOSPC'])
    expect(await probe.inside('return 1')).toBe(1)
  },
  C5: async (bench) => {
    const root = await bench.of('root')
    for (const path of ['/proc/sys/kernel/hostname', '/proc/irq/default_smp_affinity', '/proc/bus/pci/devices']) {
      expect(await root.failure(WRITE(path))).toMatch(/EROFS|EACCES|ENOENT/)
    }
    const masked = await root.inside(`return ${JSON.stringify(MASKED)}.map((path) => {
      try { return fs.readFileSync(path).length } catch (thrown) { return thrown.code } })`)
    expect((masked as unknown[]).filter((seen) => seen !== 0 && seen !== 'ENOENT')).toEqual([])
    expect(await root.inside(`return fs.existsSync('/proc/self/status')`)).toBe(true)
  },
  C6: async (bench) => {
    const root = await bench.of('root')
    for (const path of ['/sys/x', '/sys/kernel/x'])
      expect(await root.failure(WRITE(path))).toMatch(/EROFS|EACCES|EPERM/)
    expect(await root.inside(`return fs.existsSync('/sys/firmware') ? fs.readdirSync('/sys/firmware') : []`)).toEqual(
      [],
    )
  },
  C7: async (bench) => {
    const root = await bench.of('root')
    const found = await root.inside<string[]>(`return fs.readdirSync('/dev').sort()`)
    expect(found.filter((name) => !DEVICES_OF_ENGINES.includes(name))).toEqual(DEVICES)
    const made = `return call('int mknod(const char *, int, long)', '/tmp/disk', 0o60666, 8 << 8)`
    expect(await root.withSystemCalls(made)).toBe('EPERM')
  },
  C8: async (bench) => {
    const probe = await bench.deploy('c8')
    const written = await probe.inside(`const fd = fs.openSync('/dev/shm/full', 'w')
      for (let n = 0; ; n += 1) try { fs.writeSync(fd, Buffer.alloc(1 << 20)) } catch (thrown) { return [n, thrown.code] }`)
    expect(written).toEqual([64, 'ENOSPC'])
  },
  C9: async (bench) => {
    const [hosts, resolver, hostname] = await bench.inside<string[]>(
      `return [fs.readFileSync('/etc/hosts', 'utf8'), fs.readFileSync('/etc/resolv.conf', 'utf8'), os.hostname()]`,
    )
    expect(hosts).toMatch(/^127\.0\.0\.1\s+localhost$/m)
    expect(hosts).toContain(hostname)
    expect(resolver).toContain('no name server')
    expect(resolver).not.toMatch(/^nameserver/m)
  },
  C10: async (bench) => {
    const root = await bench.of('root')
    const seen = await root.withSystemCalls(`
      const at = (name) => fs.statSync('/tree/' + name)
      const value = Buffer.alloc(64)
      const size = libc.func('long getxattr(const char *, const char *, _Out_ uint8_t *, size_t)')('/tree/capable', 'security.capability', value, 64)
      const sparse = fs.readFileSync('/tree/sparse')
      return {
        symbolic: fs.readlinkSync('/tree/symbolic'), hard: at('hard').ino === at('owned').ino, setuid: at('setuid-cat').mode & 0o7777,
        capability: value.subarray(0, Number(size)).toString('hex'),
        sparse: [sparse.length, sparse.subarray(-4).toString(), sparse.subarray(0, -4).every((byte) => byte === 0)],
        names: fs.readdirSync('/tree').sort(), emptied: fs.readdirSync('/tree/emptied'), replaced: fs.readFileSync('/tree/replaced', 'utf8'),
      }`)
    expect(seen).toEqual({
      symbolic: 'owned',
      hard: true,
      setuid: 0o4755,
      capability: FILE_CAPABILITY.toString('hex'),
      sparse: [1024 * 1024 + 4, 'tail', true],
      names: 'capable emptied hard owned replaced setuid-cat sparse symbolic'.split(' '),
      emptied: ['new'],
      replaced: 'now a file',
    })
  },
  C11: async (bench) => {
    const code = `const { uid, gid, mtimeMs } = fs.statSync('/tree/owned'); return { uid, gid, mtime: mtimeMs / 1000 }`
    expect(await bench.inside(code)).toEqual(OWNED)
  },
  C12: async (bench) => {
    const probe = await bench.deployTwo('c12')
    const seen = await Promise.all([probe.inside<Seen>(CANARY), probe.inside<Seen>(CANARY)])
    expect(await probe.ids()).toHaveLength(2)
    expect(seen.map(({ after }) => after)).toEqual([1, 1])
  },
  C13: async (bench) => {
    const probe = await bench.deploy('c13', { maxInstances: 1 })
    const before = async (): Promise<number> => (await probe.inside<Seen>(CANARY)).before.length
    expect([await before(), await before()]).toEqual([0, 1])
    await bench.api.stop(probe.name)
    await probe.gone()
    expect(await before()).toBe(0)
  },
} satisfies Record<string, Check>
