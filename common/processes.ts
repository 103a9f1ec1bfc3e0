import { readFileSync } from 'node:fs'

/** A process named so that a reused pid is never taken for it: pid and start time (clock ticks since boot, proc(5) field 22). */
export interface ProcessIdentity {
  pid: number
  startTicks: string
}

/** The identity of a living process, or undefined when there is none (a zombie counts as none). */
export function identify(pid: number): ProcessIdentity | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1')
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
    const startTicks = fields[19]
    return fields[0] === 'Z' || startTicks === undefined ? undefined : { pid, startTicks }
  } catch {
    return undefined
  }
}

export function isAlive(process: ProcessIdentity): boolean {
  return identify(process.pid)?.startTicks === process.startTicks
}

/** Random for each boot of the machine: what was written under another one describes processes and mounts that are gone. */
export function bootId(): string {
  return readFileSync('/proc/sys/kernel/random/boot_id', 'latin1').trim()
}
