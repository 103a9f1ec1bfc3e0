import { constants as os } from 'node:os'
import { AppError } from '../errors.ts'
import { SYS_pidfd_open } from './constants.ts'
import { c, check, lastErrno, libc } from './libc.ts'

// processes: pidfd_open(2), pidfd_send_signal(2), setrlimit(2)

const setrlimit = libc.func('int setrlimit(int, const uint8_t *)')
const RLIMIT_CORE = 4
const RLIMIT_BYTES = 16

const SYS_pidfd_send_signal = 424

/** A descriptor that stands for this very process, never for a later one with the same pid; undefined when there is none. */
export function openProcess(pid: number): number | undefined {
  const fd = Number(c.syscall(SYS_pidfd_open, 'int', pid, 'unsigned int', 0))
  if (fd >= 0) return fd
  const errno = lastErrno()
  if (errno === 'ESRCH') return undefined
  throw new AppError(`pidfd_open ${pid} failed: ${errno}`, {
    code: 'syscall-failed',
    details: { call: 'pidfd_open', errno },
  })
}

/** Sends a signal, by name (`SIGTERM`) or number, to the process of `openProcess`. False when it has ended. */
export function signalProcess(pidfd: number, signal: NodeJS.Signals | number): boolean {
  const number = typeof signal === 'number' ? signal : os.signals[signal]
  const result = c.syscall(SYS_pidfd_send_signal, 'int', pidfd, 'int', number, 'const char *', null, 'unsigned int', 0)
  if (Number(result) === 0) return true
  const errno = lastErrno()
  if (errno === 'ESRCH') return false
  throw new AppError(`pidfd_send_signal ${signal} failed: ${errno}`, {
    code: 'syscall-failed',
    details: { call: 'pidfd_send_signal', errno },
  })
}

/** This process and those that it starts from now on leave no core file, which would hold their secrets. */
export function forbidCoreFiles(): void {
  check(setrlimit(RLIMIT_CORE, Buffer.alloc(RLIMIT_BYTES)), 'setrlimit', 'RLIMIT_CORE')
}
