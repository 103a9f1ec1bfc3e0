import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { Cgroups, cgroupFilesOf } from '../../../sandbox/cgroup.ts'
import { cgroupV1 } from '../../../sandbox/cgroup-v1.ts'
import { cgroupV2 } from '../../../sandbox/cgroup-v2.ts'

// A tree of plain files that stands for the kernel's: which files are read and written, and how their text is understood.
describe('control groups', () => {
  let root: string
  const put = (path: string, text: string): void => {
    mkdirSync(join(root, path, '..'), { recursive: true })
    writeFileSync(join(root, path), text)
  }
  const read = (path: string): string => readFileSync(join(root, path), 'utf8')
  beforeEach(() => {
    root = mkdtempSync(join(tmpdir(), 'slipway-cgroup-'))
  })
  afterEach(() => rmSync(root, { recursive: true }))

  describe('of version 2', () => {
    it('are read by the files of the one hierarchy', () => {
      put('p/i/memory.current', '1000\n')
      put('p/i/memory.peak', '3000\n')
      put('p/i/memory.events', 'low 0\nhigh 0\nmax 7\noom 3\noom_kill 2\noom_group_kill 9\n')
      put('p/i/cpu.stat', 'usage_usec 1234\nuser_usec 1000\n')
      put('p/i/pids.current', '5\n')
      put('p/i/cgroup.procs', '10\n11\n')
      const groups = new Cgroups(cgroupV2(root))
      expect(groups.stats('/p/i')).toEqual({ memoryBytes: 1000, memoryPeakBytes: 3000, cpuNs: 1_234_000, pids: 5 })
      expect(groups.oomKills('/p/i')).toBe(2)
      expect(groups.processes('/p/i')).toEqual([10, 11])
    })

    it('take the present use for the peak on kernels that keep none', () => {
      put('p/i/memory.current', '1000\n')
      expect(new Cgroups(cgroupV2(root)).stats('/p/i').memoryPeakBytes).toBe(1000)
    })

    it('limit the processor by cpu.max and freeze by cgroup.freeze, believing cgroup.events', async () => {
      put('p/i/cpu.max', 'max 100000\n')
      put('p/i/cgroup.freeze', '0')
      put('p/i/cgroup.events', 'populated 1\nfrozen 1\n')
      const groups = new Cgroups(cgroupV2(root))
      groups.limitCpu('/p/i', 0.25)
      expect(read('p/i/cpu.max')).toBe('25000 100000')
      await groups.freeze('/p/i')
      expect(read('p/i/cgroup.freeze')).toBe('1')
      expect(groups.isFrozen('/p/i')).toBe(true)
    })

    it('kill by cgroup.kill', async () => {
      put('p/i/cgroup.procs', '999999999\n')
      put('p/i/cgroup.kill', '')
      const killing = new Cgroups(cgroupV2(root)).killAll('/p/i')
      expect(read('p/i/cgroup.kill')).toBe('1')
      put('p/i/cgroup.procs', '')
      await killing
    })
  })

  describe('of version 1', () => {
    const controllers = ['memory', 'pids', 'cpu', 'cpuacct', 'freezer', 'cpuset']
    const groups = (): Cgroups =>
      new Cgroups(cgroupV1(controllers.map((name) => ({ controllers: [name], directory: join(root, name) }))))

    it('are read by the files of each controller', () => {
      put('memory/p/i/memory.usage_in_bytes', '1000\n')
      put('memory/p/i/memory.max_usage_in_bytes', '3000\n')
      put('memory/p/i/memory.oom_control', 'oom_kill_disable 0\nunder_oom 0\noom_kill 2\n')
      put('cpuacct/p/i/cpuacct.usage', '1234000\n')
      put('pids/p/i/pids.current', '5\n')
      expect(groups().stats('/p/i')).toEqual({ memoryBytes: 1000, memoryPeakBytes: 3000, cpuNs: 1_234_000, pids: 5 })
      expect(groups().oomKills('/p/i')).toBe(2)
    })

    it('limit the processor by quota and period', () => {
      put('cpu/p/i/cpu.cfs_quota_us', '-1')
      put('cpu/p/i/cpu.cfs_period_us', '0')
      groups().limitCpu('/p/i', 1.5)
      expect(read('cpu/p/i/cpu.cfs_quota_us')).toBe('150000')
      expect(read('cpu/p/i/cpu.cfs_period_us')).toBe('100000')
    })

    it('leave the cpuset to the runtime when they are made, and go from there too when they are removed', async () => {
      groups().create('/p/i')
      expect(existsSync(join(root, 'memory/p/i'))).toBe(true)
      expect(existsSync(join(root, 'cpuset/p/i'))).toBe(false)
      mkdirSync(join(root, 'cpuset/p/i/below'), { recursive: true })
      expect(groups().list('/p')).toEqual(['i'])
      await groups().remove('/p/i')
      expect(groups().list('/p')).toEqual([])
    })
  })

  it('that are gone count nothing and are removed without complaint', async () => {
    const groups = new Cgroups(cgroupV2(root))
    expect(groups.stats('/none')).toEqual({ memoryBytes: 0, memoryPeakBytes: 0, cpuNs: 0, pids: 0 })
    expect(groups.oomKills('/none')).toBe(0)
    await groups.killAll('/none')
    await groups.remove('/none')
  })
})

describe('which version a machine has', () => {
  const line = (type: string, directory: string, options: string): string =>
    `30 20 0:26 / ${directory} rw,relatime - ${type} ${type} rw,${options}`
  it('is 1 where memory is mounted so, beside a unified tree that is cleaned as well', () => {
    const files = cgroupFilesOf(
      [line('cgroup', '/c/memory', 'memory'), line('cgroup', '/c/x', 'cpu,cpuacct'), line('cgroup2', '/c/u', '')].join(
        '\n',
      ),
    )
    expect(files.version).toBe(1)
    expect(files.roots).toEqual(['/c/memory', '/c/x', '/c/u'])
    expect(files.cpuNs.file('/p')).toBe('/c/x/p/cpuacct.usage')
  })

  it('is 2 where there is only the unified tree', () => {
    expect(cgroupFilesOf(line('cgroup2', '/sys/fs/cgroup', '')).version).toBe(2)
  })

  it('is an error where there is neither', () => {
    expect(() => cgroupFilesOf('')).toThrow(expect.objectContaining({ code: 'cgroups-missing' }))
  })
})
