import { closeSync, constants, fstatSync, openSync, readlinkSync, readSync } from 'node:fs'
import { sep } from 'node:path'
import { AppError, errnoOf } from '../common/index.ts'
import type { SourceFile } from './source.ts'

/**
 * Checks that an open file is still what the scan saw, and lies below `root`: a file that is changed, or a directory that is replaced
 * by a link while we read, ends in `source-changed`.
 */
export function checkUnchanged(fd: number, root: string, entry: SourceFile): void {
  const stat = fstatSync(fd, { bigint: true })
  const { identity } = entry
  const same =
    stat.isFile() &&
    stat.dev === identity.device &&
    stat.ino === identity.inode &&
    stat.mtimeNs === identity.modifiedNs &&
    stat.ctimeNs === identity.changedNs &&
    Number(stat.size) === entry.sizeBytes
  if (!same || !isBelow(fd, root)) throw changed(entry.path)
}

/** The text of a file of the source that the build itself reads. Throws `source-unsupported` beyond `maxBytes`, `source-changed`. */
export function readSourceText(root: string, entry: SourceFile, maxBytes: number): string {
  const fd = openFile(entry)
  try {
    checkUnchanged(fd, root, entry)
    return readBounded(fd, entry.path, maxBytes)
  } finally {
    closeSync(fd)
  }
}

/** A file as text when it is a regular file of at most `maxBytes`; undefined when there is none. */
export function readSmallFile(path: string, maxBytes: number): string | undefined {
  let fd: number
  try {
    fd = openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK)
  } catch (cause) {
    if (errnoOf(cause) === 'ENOENT') return undefined
    throw new AppError(`${path} cannot be read: ${errnoOf(cause)}`, {
      code: 'source-unsupported',
      fault: 'user',
      cause,
    })
  }
  try {
    return readBounded(fd, path, maxBytes)
  } finally {
    closeSync(fd)
  }
}

function readBounded(fd: number, path: string, maxBytes: number): string {
  const stat = fstatSync(fd)
  if (!stat.isFile() || stat.size > maxBytes) {
    throw new AppError(`${path} is not a file of at most ${maxBytes} bytes`, {
      code: 'source-unsupported',
      fault: 'user',
    })
  }
  const buffer = Buffer.alloc(stat.size)
  return buffer.toString('utf8', 0, readSync(fd, buffer, 0, buffer.length, 0))
}

function openFile(entry: SourceFile): number {
  try {
    // O_NONBLOCK: a FIFO that has taken the file's place must not hold the build.
    return openSync(entry.file, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK)
  } catch (cause) {
    const errno = errnoOf(cause)
    if (errno === 'ENOENT' || errno === 'ELOOP') throw changed(entry.path)
    throw new AppError(`${entry.path} cannot be read: ${errno}`, { code: 'source-unreadable', fault: 'user', cause })
  }
}

/** Whether an open file lies below `root`, as the kernel sees it now (proc(5), /proc/self/fd). */
function isBelow(fd: number, root: string): boolean {
  if (process.platform !== 'linux') return true
  const path = readlinkSync(`/proc/self/fd/${fd}`)
  return path.startsWith(root.endsWith(sep) ? root : root + sep)
}

function changed(path: string): AppError {
  return new AppError(`${path} changed while the source was read`, {
    code: 'source-changed',
    fault: 'user',
    retryable: true,
    hint: 'build again when nothing writes to the source',
  })
}
