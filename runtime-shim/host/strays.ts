import { readdirSync, readFileSync } from 'node:fs'
import { identify, type ProcessIdentity } from '../../common/index.ts'
import { signalProcess } from './keeper.ts'

const VARIABLE = 'SLIPWAY_PLATFORM'

/** By which a lasting process of a platform (`hash` of its data directory) is found again. */
export function platformMark(hash: string): Record<string, string> {
  return { [VARIABLE]: hash }
}

/**
 * Processes that an earlier supervisor started and did not live to write down: they would hold ports and files. `known` are written down.
 * SIGKILL: nobody waits for what they do.
 */
export function endStrays(hash: string, known: readonly (ProcessIdentity | undefined)[]): ProcessIdentity[] {
  const kept = new Set(known.map((process) => process?.pid))
  const strays = readdirSync('/proc').flatMap((entry) => {
    const pid = Number(entry)
    const process = Number.isInteger(pid) && !kept.has(pid) && isMarked(pid, hash) ? identify(pid) : undefined
    return process === undefined ? [] : [process]
  })
  for (const stray of strays) signalProcess(stray, 'SIGKILL')
  return strays
}

function isMarked(pid: number, hash: string): boolean {
  try {
    return readFileSync(`/proc/${pid}/environ`, 'latin1').split('\0').includes(`${VARIABLE}=${hash}`)
  } catch {
    return false // ended, or another user's: none of ours
  }
}
