import { existsSync, mkdirSync, readdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import { AppError, errnoOf } from '../common/index.ts'
import type { CgroupFiles } from './cgroup-files.ts'
import { cgroupV1 } from './cgroup-v1.ts'
import { cgroupV2 } from './cgroup-v2.ts'

const CPU_PERIOD_US = 100_000
const SETTLE_TIMEOUT_MS = 5_000
const QUICK_EVERY_MS = 4
const QUICK_AT_MOST_MS = 250

export interface CgroupStats {
  memoryBytes: number
  memoryPeakBytes: number
  cpuNs: number
  pids: number
}

/** Control groups by path (`/slipway-HASH/ID`), the same for both versions of the kernel's interface. All by files: no process is started. */
export class Cgroups {
  readonly #files: CgroupFiles

  constructor(files: CgroupFiles) {
    this.#files = files
  }

  get version(): 1 | 2 {
    return this.#files.version
  }

  /** Makes the group. Idempotent. */
  create(path: string): void {
    for (const root of this.#files.plainRoots) mkdirSync(root + path, { recursive: true })
  }

  /** Moves a process into a group made by `create`. Takes 10 ms and more where nothing was moved shortly before: see `keepMovesQuick`. */
  async addProcess(path: string, pid: number): Promise<void> {
    for (const root of this.#files.plainRoots) await writeFile(`${root}${path}/cgroup.procs`, String(pid))
  }

  /**
   * The kernel lets the first process that is moved anywhere wait for a grace period of RCU (measured: 9 to 12 ms; 0.2 ms for those that
   * follow within 10 ms). While the OCI runtime comes to the point where it moves the container, a process is moved to where it is already.
   */
  async keepMovesQuick(path: string, pidOf: () => number | undefined, signal: AbortSignal): Promise<void> {
    const [root = ''] = this.#files.plainRoots
    const untilMs = performance.now() + QUICK_AT_MOST_MS
    while (!signal.aborted && performance.now() < untilMs) {
      const pid = pidOf()
      // 0 would be this process itself.
      if (pid !== undefined && pid > 0)
        await writeFile(`${root}${path}/cgroup.procs`, String(pid)).catch(() => undefined)
      await sleep(QUICK_EVERY_MS)
    }
  }

  /** Pids in the group itself; empty when there is no such group. */
  processes(path: string): number[] {
    const text = readIfThere(this.#files.processes(path)) ?? ''
    return text.split('\n').filter(Boolean).map(Number)
  }

  /** Whether a group's swap can be limited here (asked of a group that exists, since the root has no such file). */
  canLimitSwap(path: string): boolean {
    return existsSync(this.#files.swapLimit(path))
  }

  /** `cpus` cores, for example 0.1. */
  limitCpu(path: string, cpus: number): void {
    const quotaUs = Math.max(1_000, Math.round(cpus * CPU_PERIOD_US))
    for (const { file, text } of this.#files.cpuLimit(quotaUs, CPU_PERIOD_US)) writeFileSync(file(path), text)
  }

  /** Freezes all processes and returns when the kernel says that they stand. Throws `freeze-failed` (and thaws) when they do not. */
  async freeze(path: string): Promise<void> {
    try {
      await this.#setFrozen(path, true)
    } catch (thrown) {
      writeIfThere(this.#files.freezer.file(path), this.#files.freezer.thaw)
      throw thrown
    }
  }

  async thaw(path: string): Promise<void> {
    await this.#setFrozen(path, false)
  }

  isFrozen(path: string): boolean {
    const { stateFile, isFrozen } = this.#files.freezer
    const text = readIfThere(stateFile(path))
    return text !== undefined && isFrozen(text) === true
  }

  /** Processes of the group that the kernel has killed for memory so far. */
  oomKills(path: string): number {
    const { file, read } = this.#files.oomKills
    return read(readIfThere(file(path)) ?? '')
  }

  stats(path: string): CgroupStats {
    const { memoryUsage, memoryPeak, cpuNs, pids } = this.#files
    const value = (reading: typeof memoryUsage): number => reading.read(readIfThere(reading.file(path)) ?? '')
    const memoryBytes = value(memoryUsage)
    return {
      memoryBytes,
      memoryPeakBytes: Math.max(memoryBytes, value(memoryPeak)),
      cpuNs: value(cpuNs),
      pids: value(pids),
    }
  }

  /** Sends SIGKILL to every process, also to those that fork or are frozen meanwhile, and returns when none is left. Idempotent. */
  async killAll(path: string): Promise<void> {
    const untilMs = performance.now() + SETTLE_TIMEOUT_MS
    for (let waitMs = 1; this.processes(path).length > 0; waitMs = Math.min(20, waitMs * 2)) {
      this.#killOnce(path)
      if (performance.now() > untilMs) {
        throw new AppError(`processes of ${path} do not end: ${this.processes(path).slice(0, 10).join(' ')}`, {
          code: 'processes-remain',
          retryable: true,
        })
      }
      await sleep(waitMs)
    }
  }

  /** Removes the group and all below it from every hierarchy. Its processes must have been killed; idempotent. */
  async remove(path: string): Promise<void> {
    const untilMs = performance.now() + SETTLE_TIMEOUT_MS
    for (const root of this.#files.roots) {
      for (let waitMs = 1; !removeTree(root + path); waitMs = Math.min(20, waitMs * 2)) {
        if (performance.now() > untilMs) {
          throw new AppError(`control group ${root}${path} stays busy`, { code: 'processes-remain', retryable: true })
        }
        await sleep(waitMs)
      }
    }
  }

  /** Removes the group where it is empty, and leaves it where it is not. */
  removeIfEmpty(path: string): void {
    for (const root of this.#files.roots) {
      try {
        rmdirSync(root + path)
      } catch (thrown) {
        if (errnoOf(thrown) !== 'EBUSY' && errnoOf(thrown) !== 'ENOTEMPTY' && !isGone(thrown)) throw thrown
      }
    }
  }

  /** Names of the groups directly below `path`, in any hierarchy. */
  list(path: string): string[] {
    const names = this.#files.roots.flatMap((root) => subdirectories(root + path))
    return [...new Set(names)]
  }

  #killOnce(path: string): void {
    const { kill, freezer } = this.#files
    if (kill !== undefined && writeIfThere(kill.file(path), kill.text)) return
    // Frozen processes cannot fork: so nobody escapes between the reading of the list and the signals.
    writeIfThere(freezer.file(path), freezer.freeze)
    for (const pid of this.processes(path)) killQuietly(pid)
    writeIfThere(freezer.file(path), freezer.thaw)
  }

  async #setFrozen(path: string, wanted: boolean): Promise<void> {
    const { file, freeze, thaw, stateFile, isFrozen } = this.#files.freezer
    const untilMs = performance.now() + SETTLE_TIMEOUT_MS
    for (let waitMs = 0; ; waitMs = Math.min(20, waitMs * 2 + 1)) {
      writeFileSync(file(path), wanted ? freeze : thaw)
      if (isFrozen(readFileSync(stateFile(path), 'latin1')) === wanted) return
      if (performance.now() > untilMs) {
        throw new AppError(`${path} does not ${wanted ? 'freeze' : 'thaw'} within ${SETTLE_TIMEOUT_MS} ms`, {
          code: 'freeze-failed',
          retryable: true,
        })
      }
      await sleep(waitMs)
    }
  }
}

/** The control groups of this machine: v1 where the memory controller is mounted as v1 (hybrid included), v2 otherwise. */
export function detectCgroups(): Cgroups {
  return new Cgroups(cgroupFilesOf(readFileSync('/proc/self/mountinfo', 'utf8')))
}

/** Decides from the text of mountinfo (proc(5)). Throws `cgroups-missing`. */
export function cgroupFilesOf(mountinfo: string): CgroupFiles {
  const mounts = mountinfo.split('\n').flatMap(cgroupMount)
  const v1 = mounts.filter((mount) => mount.type === 'cgroup')
  const v2 = mounts.find((mount) => mount.type === 'cgroup2')
  // In hybrid mode runc makes the group in the unified tree as well, so that tree is ours to clean too.
  if (v1.some((mount) => mount.controllers.includes('memory'))) return cgroupV1(v2 === undefined ? v1 : [...v1, v2])
  if (v2 !== undefined) return cgroupV2(v2.directory)
  throw new AppError('no control groups with a memory controller are mounted', {
    code: 'cgroups-missing',
    hint: 'mount cgroup2 at /sys/fs/cgroup',
  })
}

interface CgroupMount {
  type: string
  directory: string
  controllers: string[]
}

function cgroupMount(line: string): CgroupMount[] {
  const [left = '', right = ''] = line.split(' - ')
  const [type = '', , options = ''] = right.split(' ')
  const directory = left.split(' ')[4] ?? ''
  if (type !== 'cgroup' && type !== 'cgroup2') return []
  return [{ type, directory, controllers: type === 'cgroup' ? options.split(',') : [] }]
}

function readIfThere(file: string): string | undefined {
  try {
    return readFileSync(file, 'latin1')
  } catch (thrown) {
    if (isGone(thrown)) return undefined
    throw thrown
  }
}

function writeIfThere(file: string, text: string): boolean {
  try {
    writeFileSync(file, text, { flag: 'r+' })
    return true
  } catch (thrown) {
    if (isGone(thrown)) return false
    throw thrown
  }
}

function isGone(thrown: unknown): boolean {
  const errno = errnoOf(thrown)
  return errno === 'ENOENT' || errno === 'ENODEV'
}

function killQuietly(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL')
  } catch (thrown) {
    if (errnoOf(thrown) !== 'ESRCH') throw thrown
  }
}

function subdirectories(directory: string): string[] {
  try {
    return readdirSync(directory, { withFileTypes: true })
      .filter((entry) => entry.isDirectory())
      .map((entry) => entry.name)
  } catch (thrown) {
    if (isGone(thrown)) return []
    throw thrown
  }
}

/** True when the directory is gone; false while the kernel still counts something in it. */
function removeTree(directory: string): boolean {
  for (const name of subdirectories(directory)) if (!removeTree(`${directory}/${name}`)) return false
  try {
    rmdirSync(directory)
    return true
  } catch (thrown) {
    if (errnoOf(thrown) === 'EBUSY') return false
    if (isGone(thrown)) return true
    throw thrown
  }
}
