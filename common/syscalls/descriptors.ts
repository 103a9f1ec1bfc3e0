import { closeSync } from 'node:fs'
import { AppError } from '../errors.ts'
import { SOL_SOCKET, SYS_pidfd_open } from './constants.ts'
import { c, check, lastErrno } from './libc.ts'

// passing descriptors: sendmsg(2), recvmsg(2), cmsg(3), SCM_RIGHTS of unix(7)

const SCM_RIGHTS = 1
const MSG_DONTWAIT = 0x40
const MSG_NOSIGNAL = 0x4000
const MSG_CMSG_CLOEXEC = 0x40000000

/** Sends `data` (at least one byte) with one descriptor beside it. False when the receiver's queue is full: nothing was sent. */
export function sendDescriptor(socket: number, data: Buffer, descriptor: number): boolean {
  const control = Buffer.alloc(24)
  control.writeBigUInt64LE(20n, 0)
  control.writeInt32LE(SOL_SOCKET, 8)
  control.writeInt32LE(SCM_RIGHTS, 12)
  control.writeInt32LE(descriptor, 16)
  const message = messageHeader(data, control)
  if (Number(c.sendmsg(socket, message, MSG_DONTWAIT | MSG_NOSIGNAL)) >= 0) return true
  const errno = lastErrno()
  if (errno === 'EAGAIN') return false
  throw new AppError(`sendmsg fd ${socket} failed: ${errno}`, {
    code: 'syscall-failed',
    details: { call: 'sendmsg', errno },
  })
}

/** Receives one packet and the descriptor beside it (-1 when it has none). Undefined when nothing waits or the other side closed. */
export function receiveDescriptor(socket: number, maxBytes = 256): { data: Buffer; descriptor: number } | undefined {
  const data = Buffer.alloc(maxBytes)
  const control = Buffer.alloc(24)
  const message = messageHeader(data, control)
  const length = Number(c.recvmsg(socket, message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC))
  if (length <= 0) {
    if (length === 0) return undefined
    const errno = lastErrno()
    if (errno === 'EAGAIN') return undefined
    throw new AppError(`recvmsg fd ${socket} failed: ${errno}`, {
      code: 'syscall-failed',
      details: { call: 'recvmsg', errno },
    })
  }
  const isRights = control.readBigUInt64LE(0) >= 20n && control.readInt32LE(12) === SCM_RIGHTS
  return { data: data.subarray(0, length), descriptor: isRights ? control.readInt32LE(16) : -1 }
}

function messageHeader(data: Buffer, control: Buffer): object {
  const iov = [{ base: data, len: data.length }]
  return { name: null, namelen: 0, iov, iovlen: 1, control, controllen: control.length, flags: 0 }
}

// pidfd_open(2), pidfd_getfd(2): taking a descriptor out of a living process

const SYS_pidfd_getfd = 438

/** Duplicates descriptor `fd` of process `pid` into this one (needs ptrace rights over it). */
export function takeDescriptorFrom(pid: number, fd: number): number {
  const pidfd = check(c.syscall(SYS_pidfd_open, 'int', pid, 'unsigned int', 0), 'pidfd_open', `pid ${pid}`)
  try {
    return check(
      c.syscall(SYS_pidfd_getfd, 'int', pidfd, 'int', fd, 'unsigned int', 0),
      'pidfd_getfd',
      `pid ${pid} fd ${fd}`,
    )
  } finally {
    closeSync(pidfd)
  }
}
