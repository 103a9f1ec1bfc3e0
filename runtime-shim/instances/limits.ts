/** Between SIGTERM (or STOPSIGNAL) and SIGKILL of an instance that is not needed any more. */
export const STOP_GRACE_MS = 2_000

/** CPU follows memory (facts: scf-contract 10: 1280 MB is one core, 3072 MB two, larger sizes by table). */
const CORES: readonly [memoryMb: number, cores: number][] = [
  [1_280, 1],
  [3_072, 2],
  [6_144, 4],
  [14_336, 8],
  [30_720, 16],
  [61_440, 32],
  [122_880, 64],
]

/** Cores for a memory setting: on the line between the neighbouring entries of the table. */
export function coresFor(memoryMb: number): number {
  let [lowMb, lowCores]: readonly [number, number] = [0, 0]
  for (const [highMb, highCores] of CORES) {
    if (memoryMb <= highMb) {
      const cores = lowCores + ((memoryMb - lowMb) / (highMb - lowMb)) * (highCores - lowCores)
      return Math.round(cores * 1_000) / 1_000
    }
    ;[lowMb, lowCores] = [highMb, highCores]
  }
  return 64
}

/** Walls of an instance by its memory setting in MB; files, processes and `/tmp` as scf-contract 10 has them. */
export function instanceLimits(memoryMb: number) {
  return {
    memoryBytes: memoryMb * 1024 * 1024,
    cpus: coresFor(memoryMb),
    pids: 1_024,
    openFiles: 1_024,
    tmpBytes: 512 * 1024 * 1024,
  }
}

/** Memory that one namespace's instances of a version may take in all (scf-contract 4.1), until quotas are settings. */
const QUOTA_MB = 128_000

/** How many instances of a version there may be at once. */
export function quotaOf({ memory, maxInstances }: { memory: number; maxInstances?: number }): number {
  const quota = Math.max(1, Math.floor(QUOTA_MB / memory))
  return Math.min(maxInstances ?? quota, quota)
}
