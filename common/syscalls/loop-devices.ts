import { AppError } from '../errors.ts'
import { check, lastErrno, libc } from './libc.ts'

// loop devices: loop(4)

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
