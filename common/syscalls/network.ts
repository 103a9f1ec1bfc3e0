import { closeSync } from 'node:fs'
import { AppError } from '../errors.ts'
import { AF_INET, AF_INET6, O_CLOEXEC, O_NONBLOCK, SOCK_STREAM, SOL_SOCKET } from './constants.ts'
import { c, check, errnoName, lastErrno } from './libc.ts'
import { inetAddress } from './sockets.ts'

// network namespaces: setns(2), unshare(2), network_namespaces(7)

const SO_ERROR = 4
const POLLOUT = 4
export const CLONE_NEWNET = 0x40000000

export function setNetworkNamespace(fd: number): void {
  check(c.setns(fd, CLONE_NEWNET), 'setns', 'network namespace')
}

export function unshareNetwork(): void {
  check(c.unshare(CLONE_NEWNET), 'unshare', 'network namespace')
}

/** netdevice(7) SIOCSIFFLAGS: brings `lo` of the current network namespace up. */
export function bringLoopbackUp(): void {
  const fd = check(c.socket(AF_INET, 2 | O_CLOEXEC, 0), 'socket', 'DGRAM')
  try {
    const request = Buffer.alloc(40)
    request.write('lo', 0, 'latin1')
    request.writeInt16LE(0x41, 16) // IFF_UP | IFF_RUNNING
    check(c.ioctlIfreq(fd, 0x8914, request), 'ioctl', 'SIOCSIFFLAGS lo')
  } finally {
    closeSync(fd)
  }
}

/** netdevice(7) SIOCSIFADDR and SIOCSIFNETMASK on an alias `lo:1`: a second IPv4 address (/32) on loopback of the current namespace. */
export function addLoopbackAddress(address: string): void {
  const fd = check(c.socket(AF_INET, 2 | O_CLOEXEC, 0), 'socket', 'DGRAM')
  try {
    for (const [call, value] of [
      [0x8916, address],
      [0x891c, '255.255.255.255'],
    ] as const) {
      const request = Buffer.alloc(40)
      request.write('lo:1', 0, 'latin1')
      inetAddress(value, 0).copy(request, 16)
      check(c.ioctlIfreq(fd, call, request), 'ioctl', `lo:1 ${value}`)
    }
  } finally {
    closeSync(fd)
  }
}

export type Connection =
  | { kind: 'connected'; fd: number }
  | { kind: 'pending'; fd: number }
  | { kind: 'refused' }
  | { kind: 'busy' }

/** Starts a non-blocking connect in the current network namespace. `pending`: ask `connectionState` after a while; the caller owns `fd`. */
export function startConnect(address: string, port: number): Connection {
  const family = address.includes(':') ? AF_INET6 : AF_INET
  const fd = check(c.socket(family, SOCK_STREAM | O_NONBLOCK | O_CLOEXEC, 0), 'socket', 'TCP')
  const name = inetAddress(address, port)
  if (Number(c.connect(fd, name, name.length)) === 0) return { kind: 'connected', fd }
  const errno = lastErrno()
  if (errno === 'EINPROGRESS') return { kind: 'pending', fd }
  closeSync(fd)
  if (errno === 'ECONNREFUSED') return { kind: 'refused' }
  if (errno === 'EAGAIN' || errno === 'ETIMEDOUT') return { kind: 'busy' }
  throw new AppError(`connect ${address}:${port} failed: ${errno}`, {
    code: 'syscall-failed',
    details: { call: 'connect', errno },
  })
}

/** poll(2) POLLOUT with no wait, then SO_ERROR: what became of a pending connect. Does not close `fd`. */
export function connectionState(fd: number): 'connected' | 'pending' | 'refused' | 'failed' {
  const set = [{ fd, events: POLLOUT, revents: 0 }]
  if (check(c.poll(set, 1, 0), 'poll', `fd ${fd}`) === 0) return 'pending'
  const value = Buffer.alloc(4)
  check(c.getsockopt(fd, SOL_SOCKET, SO_ERROR, value, [4]), 'getsockopt', 'SO_ERROR')
  const error = value.readInt32LE(0)
  if (error === 0) return 'connected'
  return errnoName(error) === 'ECONNREFUSED' ? 'refused' : 'failed'
}

/** poll(2) POLLRDHUP with no wait: whether the other side of a connected socket has closed it. Reads nothing. */
export function isPeerClosed(fd: number): boolean {
  const POLLRDHUP = 0x2000
  return check(c.poll([{ fd, events: POLLRDHUP, revents: 0 }], 1, 0), 'poll', `fd ${fd}`) === 1
}
