/**
 * The file of call leases, `run/leases-GENERATION`: 64-byte slots, slot 0 is the header. The server writes it (one pwrite
 * before the first byte of a call is sent, one when the call has ended); the supervisor reads it as hostile input.
 */
export const SLOT_BYTES = 64
export const MAX_SLOTS = 16_384
export const LEASE_FILE_BYTES = SLOT_BYTES * MAX_SLOTS

export interface CallLease {
  /** 16 hex digits. */
  instance: string
  /** Unix time in ms after which the work must be dead. */
  deadlineMs: number
}

const OPEN = 1

/** The 64 bytes of an open slot. */
export function encodeLease(lease: CallLease, into: Buffer): Buffer {
  into.fill(0)
  into[0] = OPEN
  into.write(lease.instance, 8, 8, 'hex')
  into.writeBigUInt64LE(BigInt(Math.ceil(lease.deadlineMs)), 16)
  return into
}

/** Header slot: how many slots have ever been used, so that a reader reads no more. */
export function encodeHeader(usedSlots: number): Buffer {
  const header = Buffer.alloc(SLOT_BYTES)
  header.writeUInt32LE(usedSlots, 0)
  return header
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
