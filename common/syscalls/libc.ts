import { constants as os } from 'node:os'
import koffi from 'koffi'
import { AppError } from '../errors.ts'

/**
 * The C library, for the system calls that Node lacks; the files beside this one wrap them, each with its man page. The only file that
 * imports koffi. All of them are quick (microseconds) and synchronous; nothing that can block for long belongs here.
 */

export const libc = koffi.load(null)
koffi.struct('iovec', { base: 'uint8_t *', len: 'size_t' })
koffi.struct('msghdr', {
  name: 'void *',
  namelen: 'uint32_t',
  iov: 'iovec *',
  iovlen: 'size_t',
  control: 'uint8_t *',
  controllen: 'size_t',
  flags: 'int',
})
koffi.struct('pollfd', { fd: 'int', events: 'int16_t', revents: 'int16_t' })

/** What most of the files use. */
export const c = {
  socket: libc.func('int socket(int, int, int)'),
  bind: libc.func('int bind(int, const uint8_t *, uint32_t)'),
  listen: libc.func('int listen(int, int)'),
  connect: libc.func('int connect(int, const uint8_t *, uint32_t)'),
  accept4: libc.func('int accept4(int, void *, void *, int)'),
  setsockopt: libc.func('int setsockopt(int, int, int, const uint8_t *, uint32_t)'),
  getsockopt: libc.func('int getsockopt(int, int, int, _Out_ uint8_t *, _Inout_ uint32_t *)'),
  getsockname: libc.func('int getsockname(int, _Out_ uint8_t *, _Inout_ uint32_t *)'),
  poll: libc.func('int poll(_Inout_ pollfd *, unsigned long, int)'),
  sendmsg: libc.func('long sendmsg(int, const msghdr *, int)'),
  recvmsg: libc.func('long recvmsg(int, _Inout_ msghdr *, int)'),
  setns: libc.func('int setns(int, int)'),
  unshare: libc.func('int unshare(int)'),
  mount: libc.func('int mount(const char *, const char *, const char *, unsigned long, const char *)'),
  umount2: libc.func('int umount2(const char *, int)'),
  ioctlIfreq: libc.func('ioctl', 'int', ['int', 'unsigned long', koffi.inout('uint8_t *')]),
  syscall: libc.func('long syscall(long, ...)'),
}

/** Memory that a call has answered the address of; undefined when it answered MAP_FAILED, -1. */
export function memoryAt(address: unknown, length: number): Buffer | undefined {
  if (BigInt.asIntN(64, koffi.address(address)) === -1n) return undefined
  return Buffer.from(koffi.view(address, length))
}

/** The name of an errno, `ECONNREFUSED`. */
export function errnoName(number: number): string {
  const entry = Object.entries(os.errno).find(([, value]) => value === number)
  return entry?.[0] ?? `E${number}`
}

export function lastErrno(): string {
  return errnoName(koffi.errno())
}

/** Throws `syscall-failed` with the name of the errno when a call answered less than 0. */
export function check(result: number | bigint, call: string, on: string): number {
  const value = Number(result)
  if (value >= 0) return value
  throw failed(call, on)
}

/** The error of the call that has just failed. */
export function failed(call: string, on: string): AppError {
  const errno = lastErrno()
  return new AppError(`${call} ${on} failed: ${errno}`, { code: 'syscall-failed', details: { call, on, errno } })
}

/** The errno that a failed call of this file names in its error, or undefined. */
export function syscallErrno(thrown: unknown): string | undefined {
  return thrown instanceof AppError && thrown.code === 'syscall-failed' ? String(thrown.details['errno']) : undefined
}
