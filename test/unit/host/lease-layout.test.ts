import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { overdue } from '../../../runtime-shim/host/deadlines.ts'
import {
  clearLease,
  decodeLeases,
  MAX_SLOTS,
  SLOT_BYTES,
  usedBytes,
  writeHeader,
  writeLease,
} from '../../../runtime-shim/host/lease-layout.ts'

const lease = { instance: '0123456789abcdef', deadlineMs: 1_800_000_000_000 }

/** A file with one lease in its first slot. */
function fileWith(value: typeof lease): Buffer {
  const file = Buffer.alloc(2 * SLOT_BYTES)
  writeHeader(file, 2)
  writeLease(file, 1, value)
  return file
}

describe('the lease file', () => {
  it('reads back what was written', () => {
    expect(decodeLeases(fileWith(lease), lease.deadlineMs - 1_000)).toEqual([lease])
  })

  it('has no lease in a slot that was closed', () => {
    const file = fileWith(lease)
    clearLease(file, 1)
    expect(decodeLeases(file, 0)).toEqual([])
  })

  it('cuts a deadline that no call can have to a day', () => {
    const bytes = fileWith({ ...lease, deadlineMs: 8_000_000_000_000 })
    expect(decodeLeases(bytes, 1_000)[0]?.deadlineMs).toBe(1_000 + 86_400_000)
  })

  it('never makes the reader read beyond the file, whatever the header says', () => {
    const header = Buffer.alloc(SLOT_BYTES)
    writeHeader(header, 0xffffffff)
    expect(usedBytes(header)).toBe(MAX_SLOTS * SLOT_BYTES)
  })

  it('survives any bytes', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 4 * SLOT_BYTES }), (bytes) => {
        for (const { instance, deadlineMs } of decodeLeases(Buffer.from(bytes), 5)) {
          expect(instance).toMatch(/^[0-9a-f]{16}$/)
          expect(deadlineMs).toBeLessThanOrEqual(86_400_005)
        }
      }),
    )
  })
})

describe('overdue instances', () => {
  const now = 100_000
  const at = (instance: string, deadlineMs: number) => ({ instance, deadlineMs })
  it.each([
    ['a living server has a second more than the deadline', { living: [at('a', now - 900)], orphaned: [] }, []],
    ['and no longer', { living: [at('a', now - 1_100)], orphaned: [] }, ['a']],
    ['a dead server has none', { living: [], orphaned: [at('b', now - 1)] }, ['b']],
    ['a call within its deadline runs on', { living: [at('a', now + 1)], orphaned: [at('b', now + 1)] }, []],
  ])('%s', (_title, leases, ids) => {
    expect([...overdue(leases, now)]).toEqual(ids)
  })
})
