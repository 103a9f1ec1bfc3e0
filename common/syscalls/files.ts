import { AT_FDCWD } from './constants.ts'
import { check, lastErrno, libc } from './libc.ts'

// files: lsetxattr(2), lgetxattr(2), llistxattr(2), mknod(2), utimensat(2), flock(2)

const files = {
  lsetxattr: libc.func('int lsetxattr(const char *, const char *, const uint8_t *, size_t, int)'),
  lgetxattr: libc.func('long lgetxattr(const char *, const char *, _Out_ uint8_t *, size_t)'),
  llistxattr: libc.func('long llistxattr(const char *, _Out_ uint8_t *, size_t)'),
  mknod: libc.func('int mknod(const char *, unsigned int, unsigned long)'),
  utimensat: libc.func('int utimensat(int, const char *, const uint8_t *, int)'),
  futimens: libc.func('int futimens(int, const uint8_t *)'),
  flock: libc.func('int flock(int, int)'),
}

/** A path, or its bytes when it may not be UTF-8. None of these calls follows a symbolic link at its end. */
export type FilePath = string | Buffer

/** Bytes for libc: a Buffer needs the NUL that koffi adds to a string by itself. */
function cPath(path: FilePath): string | Buffer {
  return typeof path === 'string' ? path : Buffer.concat([path, Buffer.alloc(1)])
}

const UTIME_OMIT = 0x3ffffffen
const AT_SYMLINK_NOFOLLOW = 0x100
const XATTR_MAX_BYTES = 65_536
const timespecs = Buffer.alloc(32)

/** Access time left alone; times before 1970 are negative seconds with nanoseconds counted upwards. */
function modifiedAt(seconds: number, nanoseconds: number): Buffer {
  timespecs.writeBigInt64LE(UTIME_OMIT, 8)
  timespecs.writeBigInt64LE(BigInt(seconds), 16)
  timespecs.writeBigInt64LE(BigInt(nanoseconds), 24)
  return timespecs
}

/** utimensat(2) on the entry itself: the modification time to the nanosecond, which Node's numbers of seconds cannot say. */
export function setModifiedTime(path: FilePath, seconds: number, nanoseconds: number): void {
  const result = files.utimensat(AT_FDCWD, cPath(path), modifiedAt(seconds, nanoseconds), AT_SYMLINK_NOFOLLOW)
  check(result, 'utimensat', String(path))
}

/** futimens(3) on an open file. */
export function setModifiedTimeOf(fd: number, seconds: number, nanoseconds: number): void {
  check(files.futimens(fd, modifiedAt(seconds, nanoseconds)), 'futimens', `fd ${fd}`)
}

export function setExtendedAttribute(path: FilePath, name: string, value: Uint8Array): void {
  check(files.lsetxattr(cPath(path), name, value, value.length, 0), 'lsetxattr', `${name} of ${String(path)}`)
}

/** The value, or undefined when the entry has no such attribute. */
export function getExtendedAttribute(path: FilePath, name: string): Buffer | undefined {
  const value = Buffer.alloc(XATTR_MAX_BYTES)
  const length = Number(files.lgetxattr(cPath(path), name, value, value.length))
  if (length >= 0) return Buffer.from(value.subarray(0, length))
  const errno = lastErrno()
  if (errno === 'ENODATA' || errno === 'EOPNOTSUPP') return undefined
  check(-1, 'lgetxattr', `${name} of ${String(path)}`)
  return undefined
}

export function listExtendedAttributes(path: FilePath): string[] {
  const names = Buffer.alloc(XATTR_MAX_BYTES)
  const length = check(files.llistxattr(cPath(path), names, names.length), 'llistxattr', String(path))
  return names
    .toString('latin1', 0, length)
    .split('\0')
    .filter((name) => name !== '')
}

/** An overlay whiteout, a character device 0/0: the one device node that needs no CAP_MKNOD. */
export function makeWhiteout(path: FilePath): void {
  check(files.mknod(cPath(path), 0o020_000, 0), 'mknod', `whiteout ${String(path)}`)
}

export function makeFifo(path: FilePath, mode: number): void {
  check(files.mknod(cPath(path), 0o010_000 | mode, 0), 'mknod', `fifo ${String(path)}`)
}

/** flock(2) without waiting: false when another open file holds the lock. It ends with the descriptor, so a dead holder leaves none. */
export function tryLockFile(fd: number): boolean {
  const LOCK_EX_NB = 6
  if (Number(files.flock(fd, LOCK_EX_NB)) === 0) return true
  const errno = lastErrno()
  if (errno === 'EAGAIN' || errno === 'EINTR') return false
  check(-1, 'flock', `fd ${fd}`)
  return false
}
