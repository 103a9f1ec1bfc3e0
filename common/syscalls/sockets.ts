import { closeSync } from 'node:fs'
import { AppError } from '../errors.ts'
import { AF_INET, AF_INET6, O_CLOEXEC, O_NONBLOCK, SOCK_STREAM, SOL_SOCKET } from './constants.ts'
import { c, check, lastErrno } from './libc.ts'

// sockets: socket(2), bind(2), listen(2), connect(2), ip(7), unix(7)

const AF_UNIX = 1
const SOCK_SEQPACKET = 5
const SO_REUSEADDR = 2
const SO_PEERCRED = 17
const IPPROTO_IPV6 = 41
const IPV6_V6ONLY = 26

/** sockaddr_in or sockaddr_in6 of a literal address. */
export function inetAddress(address: string, port: number): Buffer {
  const v6 = address.includes(':')
  const buffer = Buffer.alloc(v6 ? 28 : 16)
  buffer.writeUInt16LE(v6 ? AF_INET6 : AF_INET, 0)
  buffer.writeUInt16BE(port, 2)
  if (v6) ipv6Bytes(address).copy(buffer, 8)
  else Buffer.from(address.split('.').map(Number)).copy(buffer, 4)
  return buffer
}

function ipv6Bytes(address: string): Buffer {
  const [head = '', tail] = address.split('::')
  const groups = (part: string): string[] => (part === '' ? [] : part.split(':'))
  const front = groups(head)
  const back = tail === undefined ? [] : groups(tail)
  const middle = Array.from({ length: 8 - front.length - back.length }, () => '0')
  const all = tail === undefined ? front : [...front, ...middle, ...back]
  const buffer = Buffer.alloc(16)
  for (const [index, group] of all.entries()) buffer.writeUInt16BE(Number.parseInt(group, 16), index * 2)
  return buffer
}

/** sockaddr_un; a path that starts with `\0` is an abstract name. Paths longer than 107 bytes are refused. */
function unixAddress(path: string): Buffer {
  const name = Buffer.from(path, 'utf8')
  if (name.length > 107) {
    throw new AppError(`socket path is longer than 107 bytes: ${path}`, {
      code: 'path-too-long',
      fault: 'user',
      hint: 'use a shorter data directory',
    })
  }
  return Buffer.concat([Buffer.from([AF_UNIX, 0]), name, path.startsWith('\0') ? Buffer.alloc(0) : Buffer.alloc(1)])
}

/** A listening TCP socket as a bare descriptor (CLOEXEC, non-blocking): nobody accepts on it until it is given to somebody who does. */
export function listenTcp(address: string, port: number, backlog = 4096): number {
  const family = address.includes(':') ? AF_INET6 : AF_INET
  const fd = check(c.socket(family, SOCK_STREAM | O_NONBLOCK | O_CLOEXEC, 0), 'socket', 'TCP')
  try {
    const on = Buffer.from([1, 0, 0, 0])
    check(c.setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, on, 4), 'setsockopt', 'SO_REUSEADDR')
    if (family === AF_INET6) check(c.setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, on, 4), 'setsockopt', 'IPV6_V6ONLY')
    const name = inetAddress(address, port)
    check(c.bind(fd, name, name.length), 'bind', `${address}:${port}`)
    check(c.listen(fd, backlog), 'listen', `${address}:${port}`)
    return fd
  } catch (thrown) {
    closeSync(fd)
    throw thrown
  }
}

/** getsockname(2): the local port of an IPv4 or IPv6 socket. */
export function localPort(fd: number): number {
  const name = Buffer.alloc(28)
  check(c.getsockname(fd, name, [28]), 'getsockname', `fd ${fd}`)
  return name.readUInt16BE(2)
}

/** A listening SEQPACKET unix socket, non-blocking. */
export function listenSeqpacket(path: string, backlog = 16): number {
  const fd = check(c.socket(AF_UNIX, SOCK_SEQPACKET | O_NONBLOCK | O_CLOEXEC, 0), 'socket', 'SEQPACKET')
  try {
    const name = unixAddress(path)
    check(c.bind(fd, name, name.length), 'bind', path)
    check(c.listen(fd, backlog), 'listen', path)
    return fd
  } catch (thrown) {
    closeSync(fd)
    throw thrown
  }
}

/** Connects to a SEQPACKET unix socket; done at once or failed (the backlog of a unix socket is a queue in the kernel). */
export function connectSeqpacket(path: string): number {
  const fd = check(c.socket(AF_UNIX, SOCK_SEQPACKET | O_NONBLOCK | O_CLOEXEC, 0), 'socket', 'SEQPACKET')
  try {
    const name = unixAddress(path)
    check(c.connect(fd, name, name.length), 'connect', path)
    return fd
  } catch (thrown) {
    closeSync(fd)
    throw thrown
  }
}

/** accept4(2), non-blocking: undefined when nobody waits. */
export function accept(fd: number): number | undefined {
  const accepted = Number(c.accept4(fd, null, null, O_NONBLOCK | O_CLOEXEC))
  if (accepted >= 0) return accepted
  const errno = lastErrno()
  if (errno === 'EAGAIN' || errno === 'ECONNABORTED') return undefined
  throw new AppError(`accept4 fd ${fd} failed: ${errno}`, {
    code: 'syscall-failed',
    details: { call: 'accept4', errno },
  })
}

export interface PeerCredentials {
  pid: number
  uid: number
  gid: number
}

/** SO_PEERCRED of unix(7): who connected, as the kernel knows it. */
export function peerCredentials(fd: number): PeerCredentials {
  const buffer = Buffer.alloc(12)
  check(c.getsockopt(fd, SOL_SOCKET, SO_PEERCRED, buffer, [12]), 'getsockopt', 'SO_PEERCRED')
  return { pid: buffer.readInt32LE(0), uid: buffer.readUInt32LE(4), gid: buffer.readUInt32LE(8) }
}

/** Who listens on a stream socket at `path`: the process that called listen(2). Throws `syscall-failed` when nobody does. */
export function listenerCredentials(path: string): PeerCredentials {
  const fd = check(c.socket(AF_UNIX, SOCK_STREAM | O_NONBLOCK | O_CLOEXEC, 0), 'socket', 'unix')
  try {
    const name = unixAddress(path)
    check(c.connect(fd, name, name.length), 'connect', path)
    return peerCredentials(fd)
  } finally {
    closeSync(fd)
  }
}
