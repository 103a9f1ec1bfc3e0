import { join } from 'node:path'
import { codeArguments } from '../common/index.ts'
import type { WorkerSettings } from './worker-protocol.ts'

/** A user without a name: nothing on the machine belongs to it. */
const WORKER_UID = 64_212
/** What writing foreign files takes: their owners, modes, special bits and file capabilities. No CAP_SYS_ADMIN, no CAP_MKNOD. */
const CAPABILITIES = ['chown', 'dac_override', 'fowner', 'fsetid', 'setfcap']
const MAX_HEAP_MB = 1024

/**
 * How a content worker is started. With root: a user of its own that keeps only the capabilities above, in every set, and can gain none. Not being root matters beside that: files of /proc/sys
 * and processes of root stay closed. At nice 10, so that unpacking never takes a core from a running function.
 */
export function workerCommand(settings: WorkerSettings): string[] {
  const node = [
    process.execPath,
    `--max-old-space-size=${MAX_HEAP_MB}`,
    '--expose-gc', // see giveBackMemory
    ...codeArguments(join(import.meta.dirname, '..')),
    join(import.meta.dirname, 'worker-main.ts'),
  ]
  const command = [...node, JSON.stringify(settings)]
  if (process.getuid?.() !== 0) return ['nice', '-n', '10', ...command]
  const set = CAPABILITIES.map((name) => `+${name}`).join(',')
  const user = [`--reuid=${WORKER_UID}`, `--regid=${WORKER_UID}`, '--clear-groups', '--no-new-privs']
  const sets = ['inh-caps', 'ambient-caps', 'bounding-set'].map((name) => `--${name}=-all,${set}`)
  return ['nice', '-n', '10', 'setpriv', ...user, ...sets, ...command]
}
