import { type CgroupFiles, countOf, wholeNumber } from './cgroup-files.ts'

/** cgroup v2: one hierarchy (kernel documentation, admin-guide/cgroup-v2). */
export function cgroupV2(root: string): CgroupFiles {
  const file =
    (name: string) =>
    (path: string): string =>
      `${root}${path}/${name}`
  const usageUs = countOf('usage_usec')
  const frozen = countOf('frozen')
  return {
    version: 2,
    roots: [root],
    plainRoots: [root],
    processes: file('cgroup.procs'),
    memoryUsage: { file: file('memory.current'), read: wholeNumber },
    memoryPeak: { file: file('memory.peak'), read: wholeNumber }, // since Linux 5.19; absent before, then usage stands for it
    oomKills: { file: file('memory.events'), read: countOf('oom_kill') },
    cpuNs: { file: file('cpu.stat'), read: (text) => usageUs(text) * 1_000 },
    pids: { file: file('pids.current'), read: wholeNumber },
    cpuLimit: (quotaUs, periodUs) => [{ file: file('cpu.max'), text: `${quotaUs} ${periodUs}` }],
    freezer: {
      file: file('cgroup.freeze'),
      freeze: '1',
      thaw: '0',
      stateFile: file('cgroup.events'),
      isFrozen: (text) => frozen(text) === 1,
    },
    kill: { file: file('cgroup.kill'), text: '1' },
    swapLimit: file('memory.swap.max'),
  }
}
