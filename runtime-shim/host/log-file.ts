import { openSync, readFileSync, renameSync, statSync, truncateSync } from 'node:fs'
import { copyFile } from 'node:fs/promises'

const LOG_BYTES = 16 * 1024 * 1024

function isFull(path: string, maxBytes: number): boolean {
  return (statSync(path, { throwIfNoEntry: false })?.size ?? 0) > maxBytes
}

/** Opens a log for appending; one that has grown too large is set aside first, so that at most two lie on the disk. */
export function openLog(path: string): number {
  if (isFull(path, LOG_BYTES)) renameSync(path, `${path}.1`)
  return openSync(path, 'a', 0o600)
}

/**
 * Sets a log aside while processes write it: they hold the file itself (for appending), so it is copied and emptied. What is written between
 * the two is lost. At most two of `maxBytes` lie on the disk, and what comes until the next look.
 */
export async function boundLog(path: string, maxBytes = LOG_BYTES): Promise<void> {
  if (!isFull(path, maxBytes)) return
  await copyFile(path, `${path}.1`)
  truncateSync(path, 0)
}

const LAST_WORDS = 600

/** The end of a log, for a message. */
export function lastWords(path: string): string {
  const text = statSync(path, { throwIfNoEntry: false }) === undefined ? '' : readFileSync(path, 'utf8').trim()
  return text === '' ? 'none' : text.slice(-LAST_WORDS)
}
