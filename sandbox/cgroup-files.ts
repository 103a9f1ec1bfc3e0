/** The file that holds a fact of the group at `path`, and how its text is read. */
interface Reading {
  file: (path: string) => string
  read: (text: string) => number
}

interface Writing {
  file: (path: string) => string
  text: string
}

/** What the two versions of control groups differ in: which files there are and what is written into them. */
export interface CgroupFiles {
  version: 1 | 2
  /** A group is one directory below each of these. */
  roots: readonly string[]
  /** Those of them that take processes as soon as the directory exists. */
  plainRoots: readonly string[]
  processes: (path: string) => string
  memoryUsage: Reading
  memoryPeak: Reading
  oomKills: Reading
  cpuNs: Reading
  pids: Reading
  cpuLimit: (quotaUs: number, periodUs: number) => Writing[]
  freezer: {
    file: (path: string) => string
    freeze: string
    thaw: string
    stateFile: (path: string) => string
    /** Undefined: under way. */
    isFrozen: (text: string) => boolean | undefined
  }
  /** Kills all processes of the group at once; undefined where the kernel has no such file. */
  kill: Writing | undefined
  /** Exists where the kernel counts swap. */
  swapLimit: (path: string) => string
}

export function wholeNumber(text: string): number {
  const value = Number.parseInt(text, 10)
  return Number.isFinite(value) ? value : 0
}

/** Reads `KEY NUMBER` out of a file of such lines; 0 when there is none. */
export function countOf(key: string): (text: string) => number {
  const pattern = new RegExp(`^${key} (\\d+)$`, 'm')
  return (text) => Number(pattern.exec(text)?.[1] ?? 0)
}
