import { randomBytes } from 'node:crypto'
import { closeSync, fsyncSync, openSync, renameSync, unlinkSync, writeFileSync } from 'node:fs'

/** Writes a file so that after a crash it is either the old or the new one, whole: temporary file, fsync, rename. */
export function writeFileAtomic(path: string, data: string | Uint8Array, mode = 0o600): void {
  const temporary = `${path}.${randomBytes(6).toString('hex')}.tmp`
  const fd = openSync(temporary, 'wx', mode)
  try {
    writeFileSync(fd, data)
    fsyncSync(fd)
  } catch (thrown) {
    unlinkSync(temporary)
    throw thrown
  } finally {
    closeSync(fd)
  }
  renameSync(temporary, path)
}
