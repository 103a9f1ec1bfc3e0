import { type CgroupFiles, countOf, wholeNumber } from './cgroup-files.ts'

/** cgroup v1: a hierarchy for each controller (kernel documentation, admin-guide/cgroup-v1). */
export function cgroupV1(mounts: { controllers: readonly string[]; directory: string }[]): CgroupFiles {
  const root = (controller: string): string =>
    mounts.find((mount) => mount.controllers.includes(controller))?.directory ?? `/sys/fs/cgroup/${controller}`
  const file =
    (controller: string, name: string) =>
    (path: string): string =>
      `${root(controller)}${path}/${name}`
  return {
    version: 1,
    roots: mounts.map((mount) => mount.directory),
    // A new cpuset has no processors until somebody writes some into it: left to the OCI runtime.
    plainRoots: mounts.filter((mount) => !mount.controllers.includes('cpuset')).map((mount) => mount.directory),
    processes: file('pids', 'cgroup.procs'),
    memoryUsage: { file: file('memory', 'memory.usage_in_bytes'), read: wholeNumber },
    memoryPeak: { file: file('memory', 'memory.max_usage_in_bytes'), read: wholeNumber },
    oomKills: { file: file('memory', 'memory.oom_control'), read: countOf('oom_kill') },
    cpuNs: { file: file('cpuacct', 'cpuacct.usage'), read: wholeNumber },
    pids: { file: file('pids', 'pids.current'), read: wholeNumber },
    cpuLimit: (quotaUs, periodUs) => [
      { file: file('cpu', 'cpu.cfs_period_us'), text: String(periodUs) },
      { file: file('cpu', 'cpu.cfs_quota_us'), text: String(quotaUs) },
    ],
    freezer: {
      file: file('freezer', 'freezer.state'),
      freeze: 'FROZEN',
      thaw: 'THAWED',
      stateFile: file('freezer', 'freezer.state'),
      isFrozen: (text) => (text.trim() === 'FREEZING' ? undefined : text.trim() === 'FROZEN'),
    },
    kill: undefined,
    swapLimit: file('memory', 'memory.memsw.limit_in_bytes'),
  }
}
