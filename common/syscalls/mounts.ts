import { closeSync } from 'node:fs'
import { dirname } from 'node:path'
import { AppError } from '../errors.ts'
import { AT_FDCWD } from './constants.ts'
import { c, check, lastErrno, syscallErrno } from './libc.ts'

// mounts: mount(2), umount2(2), fsopen(2), fsconfig(2), fsmount(2), move_mount(2)

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
