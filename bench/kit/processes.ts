import { readFileSync } from 'node:fs'
import { errnoOf } from '../../common/index.ts'
import type { Platform } from '../../test/helpers/platform.ts'
import { TICK_MS } from './scenario.ts'

export interface PlatformProcess {
  role: string
  pid: number
}

/** What of the platform is ours: not the registry, not the monitors, not the instances. */
const OUR_ROLES = new Set(['supervisor', 'server', 'worker'])

/** The parent and every process of the platform that is ours. */
export async function ourProcesses(platform: Platform): Promise<PlatformProcess[]> {
  const { processes } = await platform.cli<{ processes: PlatformProcess[] }>('status')
  const parent = platform.state()?.parent
  const ours = processes.filter(({ role }) => OUR_ROLES.has(role))
  return parent === undefined || parent === null ? ours : [...ours, { role: 'parent', pid: parent.pid }]
}

/** User and system time of processes with all their threads (proc(5), `stat`, fields 14 and 15). The content worker may end in between: it counts nothing then. */
export class CpuWatch {
  readonly #began: Map<number, number>

  constructor(pids: readonly number[]) {
    this.#began = new Map(pids.map((pid) => [pid, cpuMs(pid) ?? 0]))
  }

  elapsedMs(): number {
    return [...this.#began].reduce((sum, [pid, began]) => sum + (cpuMs(pid) ?? began) - began, 0)
  }
}

function cpuMs(pid: number): number | undefined {
  const stat = readText(`/proc/${pid}/stat`)
  if (stat === undefined) return undefined
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  return (Number(fields[11]) + Number(fields[12])) * TICK_MS
}

function readText(path: string): string | undefined {
  try {
    return readFileSync(path, 'latin1')
  } catch (thrown) {
    if (errnoOf(thrown) === 'ENOENT' || errnoOf(thrown) === 'ESRCH') return undefined
    throw thrown
  }
}

/** Memory in MB: what is shared with other processes counts by its share (proc(5), `smaps_rollup`). 0 when the process has ended. */
export function pssMb(pid: number): number {
  const line = /^Pss: +(\d+) kB$/m.exec(readText(`/proc/${pid}/smaps_rollup`) ?? '')
  return Number(line?.[1] ?? 0) / 1024
}
