import { readFileSync } from 'node:fs'

/** The rest is for connections into instances, files, and the server's own. */
const SHARE = 0.8

/**
 * How many connections of callers one process may hold: beyond it they are closed as they come, so that descriptors are left to serve
 * those that are there. Undefined where the limit cannot be read (other systems than Linux).
 */
export function connectionLimit(): number | undefined {
  try {
    const [, soft] = /^Max open files +(\d+)/m.exec(readFileSync('/proc/self/limits', 'latin1')) ?? []
    return soft === undefined ? undefined : Math.floor(Number(soft) * SHARE)
  } catch {
    return undefined
  }
}
