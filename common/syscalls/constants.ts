// Numbers of Linux that more than one file uses (the same on all architectures that we run on).
export const O_NONBLOCK = 0o4000
export const O_CLOEXEC = 0o2000000
export const AF_INET = 2
export const AF_INET6 = 10
export const SOCK_STREAM = 1
export const SOL_SOCKET = 1
export const AT_FDCWD = -100
export const SYS_pidfd_open = 434
