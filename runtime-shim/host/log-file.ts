import { openSync, renameSync, statSync } from 'node:fs'

const LOG_BYTES = 16 * 1024 * 1024

/** Opens a log for appending; one that has grown too large is set aside first, so that at most two lie on the disk. */
export function openLog(path: string): number {
  const size = statSync(path, { throwIfNoEntry: false })?.size ?? 0
  if (size > LOG_BYTES) renameSync(path, `${path}.1`)
  return openSync(path, 'a', 0o600)
}
