/**
 * The file of call leases, `run/leases-GENERATION`: 64-byte slots, slot 0 is the header. The server writes it (before the first byte of a
 * call is sent, and when the call has ended); the supervisor reads it as hostile input.
 */
export const SLOT_BYTES = 64
export const MAX_SLOTS = 16_384
export const LEASE_FILE_BYTES = SLOT_BYTES * MAX_SLOTS

export interface CallLease {
  /** 16 hex digits. */
  instance: string
  /** After which the work must be dead, by `machineMs`: a step of the wall clock ends no call. */
  deadlineMs: number
}

const OPEN = 1

/** Writes an open slot into the bytes of a file. What says that it is open comes last: readers look at any moment. */
export function writeLease(file: Buffer, slot: number, lease: CallLease): void {
  const at = slot * SLOT_BYTES
  const deadlineMs = Math.ceil(lease.deadlineMs)
  file.write(lease.instance, at + 8, 8, 'hex')
  file.writeUInt32LE(deadlineMs % 2 ** 32, at + 16)
  file.writeUInt32LE(Math.floor(deadlineMs / 2 ** 32), at + 20)
  Atomics.store(file, at, OPEN)
}

export function clearLease(file: Buffer, slot: number): void {
  Atomics.store(file, slot * SLOT_BYTES, 0)
}

const BOOT_AT = 16
const BOOT_BYTES = 36

/** Deadlines are of the boot in which they were written. */
export function writeBoot(file: Buffer, bootId: string): void {
  file.write(bootId, BOOT_AT, BOOT_BYTES, 'latin1')
}

export function readBoot(header: Buffer): string {
  return header.toString('latin1', BOOT_AT, BOOT_AT + BOOT_BYTES)
}

/** The header: how many slots have ever been used, so that a reader reads no more. */
export function writeHeader(file: Buffer, usedSlots: number): void {
  file.writeUInt32LE(usedSlots, 0)
}

/** How many bytes of the file are worth reading, from its header. Never more than the file's fixed size. */
export function usedBytes(header: Buffer): number {
  return Math.min(header.readUInt32LE(0), MAX_SLOTS) * SLOT_BYTES
}

/** All open leases in the bytes of a lease file. A deadline that no call can have (over a day ahead) is cut to a day. */
export function decodeLeases(bytes: Buffer, nowMs: number): CallLease[] {
  const leases: CallLease[] = []
  for (let at = SLOT_BYTES; at + SLOT_BYTES <= bytes.length; at += SLOT_BYTES) {
    if (bytes[at] !== OPEN) continue
    const deadlineMs = Math.min(Number(bytes.readBigUInt64LE(at + 16)), nowMs + 86_400_000)
    leases.push({ instance: bytes.toString('hex', at + 8, at + 16), deadlineMs })
  }
  return leases
}
