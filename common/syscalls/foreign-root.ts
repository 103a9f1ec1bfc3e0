import { AppError } from '../errors.ts'
import { O_CLOEXEC, O_NONBLOCK } from './constants.ts'
import { c, lastErrno } from './libc.ts'

// files inside a foreign root: openat2(2)

const SYS_openat2 = 437
const RESOLVE_NO_MAGICLINKS = 2
const RESOLVE_NO_SYMLINKS = 4
const RESOLVE_IN_ROOT = 16
const O_PATH = 0o10000000

export interface OpenInRoot {
  /** Refuse every symbolic link on the way (ELOOP). Default: links are followed, but `/` and `..` never leave the root. */
  noSymlinks?: boolean
  /** A descriptor that only names the place (O_PATH). Default: open for reading. */
  pathOnly?: boolean
}

/**
 * Opens `path` as a process would whose root directory is `root` (a descriptor): no link in a hostile tree leads out of it.
 * Never waits for a FIFO. Undefined when the path does not exist there or cannot be opened in this way.
 */
export function openInRoot(root: number, path: string, options: OpenInRoot = {}): number | undefined {
  const how = Buffer.alloc(24)
  const access = options.pathOnly === true ? O_PATH : O_NONBLOCK
  how.writeBigUInt64LE(BigInt(access | O_CLOEXEC), 0)
  const resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS | (options.noSymlinks === true ? RESOLVE_NO_SYMLINKS : 0)
  how.writeBigUInt64LE(BigInt(resolve), 16)
  const fd = Number(
    c.syscall(SYS_openat2, 'int', root, 'const char *', path, 'const uint8_t *', how, 'size_t', how.length),
  )
  if (fd >= 0) return fd
  const errno = lastErrno()
  if (['ENOENT', 'ELOOP', 'ENOTDIR', 'EXDEV', 'ENXIO', 'EACCES', 'ENAMETOOLONG'].includes(errno)) return undefined
  throw new AppError(`openat2 ${path} failed: ${errno}`, {
    code: 'syscall-failed',
    details: { call: 'openat2', errno },
  })
}
