import { readFileSync } from 'node:fs'
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

/** User and system time of a process with all its threads: proc(5), `stat`, fields 14 and 15. */
export function cpuMs(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, 'latin1')
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  return (Number(fields[11]) + Number(fields[12])) * TICK_MS
}

/** Memory in MB: what is shared with other processes counts by its share (proc(5), `smaps_rollup`). */
export function pssMb(pid: number): number {
  const line = /^Pss: +(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/smaps_rollup`, 'latin1'))
  if (line?.[1] === undefined) throw new Error(`process ${pid} has no Pss`)
  return Number(line[1]) / 1024
}
