import { randomBytes } from 'node:crypto'
import {
  closeSync,
  fsyncSync,
  lstatSync,
  openSync,
  readdirSync,
  renameSync,
  rmSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'

/** Writes a file so that after a crash of the machine it is either the old or the new one, whole: temporary file, fsync, rename. */
export function writeFileAtomic(path: string, data: string | Uint8Array, mode = 0o600): void {
  replaceFile(path, data, mode, fsyncSync)
}

/**
 * As `writeFileAtomic`, for what describes processes: whole after the death of any process, and worth nothing after that of the machine. An
 * fsync takes 4 to 20 ms, in which this process does nothing else.
 */
export function writeRunFile(path: string, data: string | Uint8Array, mode = 0o600): void {
  replaceFile(path, data, mode, () => undefined)
}

function replaceFile(path: string, data: string | Uint8Array, mode: number, settle: (fd: number) => void): void {
  const temporary = `${path}.${randomBytes(6).toString('hex')}.tmp`
  const fd = openSync(temporary, 'wx', mode)
  try {
    writeFileSync(fd, data)
    settle(fd)
  } catch (thrown) {
    unlinkSync(temporary)
    throw thrown
  } finally {
    closeSync(fd)
  }
  renameSync(temporary, path)
}

/** Longer than anything takes to be made: what is older was left behind by a process that was killed. */
const STALE_MS = 60 * 60_000

/** Removes files and directories of unfinished work (names that match `pattern`) that an hour has not touched. */
export function removeStale(directory: string, pattern: RegExp): void {
  for (const name of readdirSync(directory).filter((candidate) => pattern.test(candidate))) {
    const path = join(directory, name)
    const changedMs = lstatSync(path, { throwIfNoEntry: false })?.ctimeMs ?? Number.POSITIVE_INFINITY
    if (Date.now() - changedMs > STALE_MS) rmSync(path, { recursive: true, force: true })
  }
}
