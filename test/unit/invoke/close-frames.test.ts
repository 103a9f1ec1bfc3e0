import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { CloseFrameReader, closeNumber } from '../../../runtime-shim/invoke/close-frames.ts'

interface Frame {
  opcode: number
  payload: Uint8Array
  mask: Uint8Array | null
}

function encode({ opcode, payload, mask }: Frame): Buffer {
  const { length } = payload
  const field = length < 126 ? Buffer.alloc(0) : Buffer.alloc(length < 65_536 ? 2 : 8)
  if (field.length === 2) field.writeUInt16BE(length)
  if (field.length === 8) field.writeBigUInt64BE(BigInt(length))
  const short = length < 126 ? length : field.length === 2 ? 126 : 127
  const body = Buffer.from(payload.map((byte, at) => byte ^ (mask?.[at & 3] ?? 0)))
  const start = Buffer.from([0x80 | opcode, short | (mask === null ? 0 : 0x80)])
  return Buffer.concat([start, field, mask ?? Buffer.alloc(0), body])
}

const mask = fc.option(fc.uint8Array({ minLength: 4, maxLength: 4 }))
const dataFrame = fc.record({
  opcode: fc.constantFrom(0, 1, 2, 9, 10),
  payload: fc.oneof(
    fc.uint8Array({ maxLength: 300 }),
    fc.constantFrom(125, 126, 65_535, 65_536).map((size) => new Uint8Array(size)),
  ),
  mask,
})
const closing = (code: number, key: Uint8Array | null): Frame => ({
  opcode: 8,
  payload: new Uint8Array([code >> 8, code & 255, 0x62, 0x79]),
  mask: key,
})

describe('the close frame of a stream of frames', () => {
  it('is found wherever the stream is cut, behind frames of any size', () => {
    fc.assert(
      fc.property(
        fc.array(dataFrame, { maxLength: 6 }),
        fc.integer({ min: 1_000, max: 4_999 }),
        mask,
        fc.array(fc.integer({ min: 1, max: 400 }), { minLength: 1, maxLength: 20 }),
        (frames, code, key, cuts) => {
          const reader = new CloseFrameReader()
          const stream = Buffer.concat([...frames, closing(code, key)].map(encode))
          for (let at = 0, n = 0; at < stream.length; n += 1) {
            const size = cuts[n % cuts.length] ?? 1
            expect(reader.found).toBeUndefined()
            reader.push(stream.subarray(at, at + size))
            at += size
            if (reader.found !== undefined) break
          }
          expect(reader.found).toEqual({ code })
        },
      ),
    )
  })

  it('has no code when it is empty, and is an error when its length is impossible', () => {
    const read = (bytes: number[]) => {
      const reader = new CloseFrameReader()
      reader.push(Buffer.from(bytes))
      return reader.found
    }
    expect(read([0x88, 0])).toEqual({ code: null })
    expect(read([0x88, 0x80, 1, 2, 3, 4])).toEqual({ code: null })
    expect(read([0x88, 1])).toEqual({ code: 1_002 })
    expect(read([0x88, 126, 1, 0])).toEqual({ code: 1_002 })
  })

  it('is looked for no more behind a length that nobody can send', () => {
    const reader = new CloseFrameReader()
    reader.push(Buffer.from([0x82, 127, 0xff, 0, 0, 0, 0, 0, 0, 0, 0x88, 0]))
    expect(reader.found).toBeUndefined()
  })
})

describe('the number of a WebSocket that ended', () => {
  it.each([
    ['caller', { code: 1_000 }, 200],
    ['function', { code: 1_000 }, 200],
    ['caller', { code: null }, 200],
    ['caller', { code: 1_010 }, 200],
    ['function', { code: 1_010 }, 439],
    ['function', { code: 1_011 }, 200],
    ['caller', { code: 1_011 }, 456],
    ['caller', { code: 1_001 }, 456],
    ['function', { code: 4_000 }, 439],
    ['caller', undefined, 456],
    ['function', undefined, 439],
  ] as const)('closed first by the %s with %o is %i', (by, frame, number) => {
    expect(closeNumber(by, frame)).toBe(number)
  })
})
