import { closeSync } from 'node:fs'
import { constants as os } from 'node:os'
import { dirname } from 'node:path'
import koffi from 'koffi'
import { AppError } from './errors.ts'

/**
 * The system calls that Node lacks, each with its man page. The only file that imports koffi.
 * All of them are quick (microseconds) and synchronous; nothing that can block for long belongs here.
 */

const libc = koffi.load(null)
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

const c = {
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

const O_NONBLOCK = 0o4000
const O_CLOEXEC = 0o2000000
const AF_UNIX = 1
const AF_INET = 2
const AF_INET6 = 10
const SOCK_STREAM = 1
const SOCK_SEQPACKET = 5
const SOL_SOCKET = 1
const SO_REUSEADDR = 2
const SO_ERROR = 4
const SO_PEERCRED = 17
const IPPROTO_IPV6 = 41
const IPV6_V6ONLY = 26
const SCM_RIGHTS = 1
const MSG_DONTWAIT = 0x40
const MSG_NOSIGNAL = 0x4000
const MSG_CMSG_CLOEXEC = 0x40000000
const POLLOUT = 4
export const CLONE_NEWNET = 0x40000000

/** The name of an errno, `ECONNREFUSED`. */
function errnoName(number: number): string {
  const entry = Object.entries(os.errno).find(([, value]) => value === number)
  return entry?.[0] ?? `E${number}`
}

function lastErrno(): string {
  return errnoName(koffi.errno())
}

function check(result: number | bigint, call: string, on: string): number {
  const value = Number(result)
  if (value >= 0) return value
  const errno = lastErrno()
  throw new AppError(`${call} ${on} failed: ${errno}`, { code: 'syscall-failed', details: { call, on, errno } })
}

/** The errno that a failed call of this file names in its error, or undefined. */
export function syscallErrno(thrown: unknown): string | undefined {
  return thrown instanceof AppError && thrown.code === 'syscall-failed' ? String(thrown.details['errno']) : undefined
}

// --- sockets: socket(2), bind(2), listen(2), connect(2), ip(7), unix(7)

/** sockaddr_in or sockaddr_in6 of a literal address. */
function inetAddress(address: string, port: number): Buffer {
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

/** A name in the abstract namespace that lives exactly as long as this process: a run lock that cannot go stale. False when it is taken. */
export function takeAbstractLock(name: string): boolean {
  const fd = check(c.socket(AF_UNIX, SOCK_STREAM | O_CLOEXEC, 0), 'socket', 'unix')
  const address = unixAddress(`\0${name}`)
  if (Number(c.bind(fd, address, address.length)) === 0) return true
  const errno = lastErrno()
  closeSync(fd)
  if (errno === 'EADDRINUSE') return false
  throw new AppError(`bind of lock ${name} failed: ${errno}`, { code: 'syscall-failed', details: { errno } })
}

// --- passing descriptors: sendmsg(2), recvmsg(2), cmsg(3), SCM_RIGHTS of unix(7)

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

// --- pidfd_open(2), pidfd_getfd(2): taking a descriptor out of a living process

const SYS_pidfd_open = 434
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

// --- network namespaces: setns(2), unshare(2), network_namespaces(7)

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

// --- mounts: mount(2), umount2(2), fsopen(2), fsconfig(2), fsmount(2), move_mount(2)

export const MS = {
  RDONLY: 1,
  NOSUID: 2,
  NODEV: 4,
  NOEXEC: 8,
  REMOUNT: 32,
  BIND: 4096,
  REC: 16384,
  PRIVATE: 1 << 18,
  SLAVE: 1 << 19,
  SHARED: 1 << 20,
} as const

export function mount(source: string, target: string, type: string | null, flags: number, data: string | null): void {
  check(c.mount(source, target, type, flags, data), 'mount', target)
}

/** umount2(2) with MNT_DETACH. True when something was unmounted, false when nothing was mounted there. */
export function unmount(target: string): boolean {
  if (Number(c.umount2(target, 2)) === 0) return true
  const errno = lastErrno()
  if (errno === 'EINVAL' || errno === 'ENOENT') return false
  throw new AppError(`umount2 ${target} failed: ${errno}`, {
    code: 'syscall-failed',
    details: { call: 'umount2', errno },
  })
}

const SYS_move_mount = 429
const SYS_fsopen = 430
const SYS_fsconfig = 431
const SYS_fsmount = 432
const FSCONFIG_SET_FLAG = 0
const FSCONFIG_SET_STRING = 1
const FSCONFIG_CMD_CREATE = 6
const MOUNT_ATTR_RDONLY = 1
const MOVE_MOUNT_F_EMPTY_PATH = 4
const AT_FDCWD = -100

/**
 * Mounts a read-only overlay of up to 500 layers through the new mount API: no page-size limit as mount(2) has (facts 3.2).
 * `layers` lowest first. `userxattr` reads `user.overlay.*`, which an unpacker without CAP_SYS_ADMIN writes.
 */
export function mountOverlay(layers: readonly string[], target: string): void {
  try {
    mountOverlayByLayer(layers, target)
  } catch (thrown) {
    // Kernels before 6.7 know no `lowerdir+`.
    if (syscallErrno(thrown) !== 'EINVAL' || layers.length > MAX_LAYERS) throw thrown
    mountOverlayByString(layers, target)
  }
}

const MAX_LAYERS = 500
/** mount(2) copies one page of options, its last byte a zero. */
const MAX_OPTION_BYTES = 4_095

/**
 * The same by mount(2), whose options must fit in one page: names are given relative to the directory that most layers lie in
 * (about 55 layers). Throws `overlay-too-long` beyond that.
 */
export function mountOverlayByString(layers: readonly string[], target: string): void {
  const base = commonDirectory(layers)
  const names = [...layers]
    .reverse()
    .map((layer) => (layer.startsWith(`${base}/`) ? layer.slice(base.length + 1) : layer))
  const options = `lowerdir=${names.map((name) => name.replace(/[\\:,]/g, '\\$&')).join(':')},userxattr`
  if (Buffer.byteLength(options) > MAX_OPTION_BYTES) {
    throw new AppError(`an overlay of ${layers.length} layers does not fit in the options of mount(2)`, {
      code: 'overlay-too-long',
      hint: 'upgrade the kernel to 6.7 or later, or use an image with fewer layers',
    })
  }
  const before = process.cwd()
  process.chdir(base)
  try {
    mount('overlay', target, 'overlay', MS.RDONLY, options)
  } finally {
    process.chdir(before)
  }
}

/** The longest directory that most of the paths begin with: the grandparent of the last (store layers are siblings). */
function commonDirectory(paths: readonly string[]): string {
  const last = paths.at(-1) ?? '/'
  return dirname(dirname(last))
}

function mountOverlayByLayer(layers: readonly string[], target: string): void {
  const context = check(c.syscall(SYS_fsopen, 'const char *', 'overlay', 'unsigned int', 1), 'fsopen', 'overlay')
  try {
    const set = (command: number, key: string | null, value: string | null, what: string): void => {
      check(
        c.syscall(
          SYS_fsconfig,
          'int',
          context,
          'unsigned int',
          command,
          'const char *',
          key,
          'const char *',
          value,
          'int',
          0,
        ),
        'fsconfig',
        what,
      )
    }
    for (const layer of [...layers].reverse()) set(FSCONFIG_SET_STRING, 'lowerdir+', layer, layer)
    set(FSCONFIG_SET_FLAG, 'userxattr', null, 'userxattr')
    set(FSCONFIG_CMD_CREATE, null, null, `overlay of ${layers.length} layers`)
    const tree = check(
      c.syscall(SYS_fsmount, 'int', context, 'unsigned int', 1, 'unsigned int', MOUNT_ATTR_RDONLY),
      'fsmount',
      target,
    )
    try {
      check(
        c.syscall(
          SYS_move_mount,
          'int',
          tree,
          'const char *',
          '',
          'int',
          AT_FDCWD,
          'const char *',
          target,
          'unsigned int',
          MOVE_MOUNT_F_EMPTY_PATH,
        ),
        'move_mount',
        target,
      )
    } finally {
      closeSync(tree)
    }
  } finally {
    closeSync(context)
  }
}

// --- files: lsetxattr(2), lgetxattr(2), llistxattr(2), lremovexattr(2), mknod(2), utimensat(2), flock(2)

const files = {
  lsetxattr: libc.func('int lsetxattr(const char *, const char *, const uint8_t *, size_t, int)'),
  lgetxattr: libc.func('long lgetxattr(const char *, const char *, _Out_ uint8_t *, size_t)'),
  llistxattr: libc.func('long llistxattr(const char *, _Out_ uint8_t *, size_t)'),
  lremovexattr: libc.func('int lremovexattr(const char *, const char *)'),
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

export function removeExtendedAttribute(path: FilePath, name: string): void {
  check(files.lremovexattr(cPath(path), name), 'lremovexattr', `${name} of ${String(path)}`)
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

// --- processes: pidfd_open(2), pidfd_send_signal(2)

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

// --- files inside a foreign root: openat2(2)

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

// --- sparse files: lseek(2) SEEK_DATA, SEEK_HOLE

const lseek = libc.func('int64_t lseek(int, int64_t, int)')
const SEEK_DATA = 3
const SEEK_HOLE = 4

/** The ranges of a sparse file that hold data, in order. */
export function dataRanges(fd: number): { offset: number; length: number }[] {
  const ranges: { offset: number; length: number }[] = []
  for (let at = 0; ; ) {
    const offset = Number(lseek(fd, at, SEEK_DATA))
    if (offset < 0) return ranges // ENXIO: no data any more
    at = Number(lseek(fd, offset, SEEK_HOLE))
    if (at <= offset) return ranges
    ranges.push({ offset, length: at - offset })
  }
}

// --- loop devices: loop(4)

const ioctlNumber = libc.func('ioctl', 'int', ['int', 'unsigned long', 'unsigned long'])
const ioctlBuffer = libc.func('ioctl', 'int', ['int', 'unsigned long', 'const uint8_t *'])
const LOOP_CTL_GET_FREE = 0x4c82
const LOOP_CONFIGURE = 0x4c0a
const LO_FLAGS_AUTOCLEAR = 4

/** The number of a loop device that was free a moment ago; `control` is `/dev/loop-control`. */
export function freeLoopDevice(control: number): number {
  return check(ioctlNumber(control, LOOP_CTL_GET_FREE, 0), 'ioctl', 'LOOP_CTL_GET_FREE')
}

/**
 * Backs the loop device `device` with `file`; it frees itself when its last user (a mount, a descriptor) goes.
 * False when somebody else took the device first.
 */
export function configureLoopDevice(device: number, file: number): boolean {
  const config = Buffer.alloc(304) // struct loop_config: fd, block size, struct loop_info64 with lo_flags at 52
  config.writeUInt32LE(file, 0)
  config.writeUInt32LE(LO_FLAGS_AUTOCLEAR, 8 + 52)
  if (Number(ioctlBuffer(device, LOOP_CONFIGURE, config)) === 0) return true
  const errno = lastErrno()
  if (errno === 'EBUSY') return false
  throw new AppError(`ioctl LOOP_CONFIGURE failed: ${errno}`, {
    code: 'syscall-failed',
    details: { call: 'ioctl', errno },
  })
}
