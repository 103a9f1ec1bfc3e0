import { closeSync, existsSync, readdirSync, readFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { AppError, openProcess, signalProcess } from '../common/index.ts'
import type { InstanceNames } from './names.ts'

const END_TIMEOUT_MS = 5_000

/**
 * Pids of conmon and OCI runtime processes that work on this instance, recognised by the bundle in their arguments. Once a creation is complete there
 * is only conmon, whose pid is written down; before that any process may be at work, and only a scan of /proc (about 10 µs a process) finds it.
 */
export function monitorProcesses(names: InstanceNames): number[] {
  const candidates = existsSync(names.pidFile) ? [readMonitorPid(names)] : readdirSync('/proc')
  return candidates.filter((entry) => /^\d+$/.test(entry) && works(entry, names.bundle)).map(Number)
}

function readMonitorPid(names: InstanceNames): string {
  return existsSync(names.monitorPidFile) ? readFileSync(names.monitorPidFile, 'latin1').trim() : ''
}

function works(pid: string, bundle: string): boolean {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0').includes(bundle)
  } catch {
    return false
  }
}

/** Ends what `monitorProcesses` finds: by itself within `graceMs` (conmon writes the exit file when its container ends), else by SIGKILL. */
export async function endMonitorProcesses(names: InstanceNames, graceMs: number): Promise<void> {
  const startMs = performance.now()
  for (let waitMs = 1; ; waitMs = Math.min(50, waitMs * 2)) {
    const pids = monitorProcesses(names)
    if (pids.length === 0) return
    const elapsedMs = performance.now() - startMs
    if (elapsedMs > graceMs) for (const pid of pids) killExactly(pid, names)
    if (elapsedMs > graceMs + END_TIMEOUT_MS) {
      throw new AppError(`monitors of instance ${names.id} do not end: ${pids.join(' ')}`, {
        code: 'processes-remain',
        retryable: true,
      })
    }
    await sleep(waitMs)
  }
}

/** The descriptor is taken before the arguments are looked at again, so no other process can have come into the pid's place. */
function killExactly(pid: number, names: InstanceNames): void {
  const pidfd = openProcess(pid)
  if (pidfd === undefined) return
  try {
    if (works(String(pid), names.bundle)) signalProcess(pidfd, 'SIGKILL')
  } finally {
    closeSync(pidfd)
  }
}
