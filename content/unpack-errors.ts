import { AppError, errnoOf, messageOf, syscallErrno } from '../common/index.ts'
import { type ByteString, refuse, shown } from './tar-entry.ts'

/** What a failed file operation on an entry means: a full disk, an entry that no file system takes, or a fault of ours. */
export function explainFailure(thrown: unknown, path: ByteString): unknown {
  if (thrown instanceof AppError && thrown.code !== 'syscall-failed') return thrown
  const errno = syscallErrno(thrown) ?? errnoOf(thrown) ?? ''
  switch (errno) {
    case 'ENOSPC':
    case 'EDQUOT':
      return diskFull(`unpacking ${shown(path)}: ${errno}`, thrown)
    case 'ENAMETOOLONG':
      return refuse(`the name ${shown(path)} is longer than a path may be here`)
    case 'EMLINK':
      return refuse(`${shown(path)} has more hard links than the file system holds`)
    case 'EFBIG':
    case 'EINVAL':
    case 'EILSEQ':
      return refuse(`the file system does not take ${shown(path)} (${errno})`)
    case 'EPERM':
    case 'EACCES':
      return new AppError(`unpacking ${shown(path)} failed: ${messageOf(thrown)}`, {
        code: 'unpack-not-permitted',
        hint: 'unpacking needs root, or the capabilities CHOWN, FOWNER, FSETID, DAC_OVERRIDE and SETFCAP',
        cause: thrown,
      })
    default:
      return new AppError(`unpacking ${shown(path)} failed: ${messageOf(thrown)}`, {
        code: 'unpack-failed',
        cause: thrown,
      })
  }
}

export function diskFull(what: string, cause?: unknown): AppError {
  return new AppError(`no space left for images: ${what}`, {
    code: 'disk-full',
    retryable: true,
    hint: 'free space under the data directory, or lower what the content store may keep',
    cause,
  })
}
