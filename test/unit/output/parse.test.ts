import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { earliest, MAX_LINE_BYTES, OutputParser, type ParsedLine } from '../../../runtime-shim/output/parse.ts'
import { conmonLine } from '../../helpers/output-files.ts'

const T = Date.UTC(2026, 10, 21, 0, 34, 47) * 1000 + 915_381

function copy(line: ParsedLine): ParsedLine {
  return { ...line, text: Buffer.from(line.text) }
}

function parse(bytes: Buffer, options: ConstructorParameters<typeof OutputParser>[0] = {}): ParsedLine[] {
  const parser = new OutputParser(options)
  return [...parser.push(bytes), ...parser.endFile(), ...parser.release(false)].map(copy)
}

describe('parsing conmon output', () => {
  it('reads time, stream and text of a whole line', () => {
    const [line] = parse(Buffer.from('2026-11-21T00:34:47.915381571+00:00 stdout F hello world\n'))
    expect(line).toEqual({
      stream: 'stdout',
      firstUs: T,
      lastUs: T,
      text: Buffer.from('hello world'),
      continues: false,
    })
  })

  it.each([
    ['an offset', '2026-11-21T02:04:47.915381571+01:30', T],
    ['Z and milliseconds', '2026-11-21T00:34:47.915Z', T - 381],
    ['no fraction', '2026-11-21T00:34:47Z', T - 915_381],
  ])('reads a time with %s', (_what, stamp, timeUs) => {
    expect(parse(Buffer.from(`${stamp} stderr F x\n`))[0]).toMatchObject({ stream: 'stderr', firstUs: timeUs })
  })

  it('joins pieces up to their end for each stream apart', () => {
    const lines = parse(
      Buffer.concat([
        conmonLine(T, 'stdout', 'P', 'one '),
        conmonLine(T + 1, 'stderr', 'P', 'uno '),
        conmonLine(T + 2, 'stdout', 'P', 'two '),
        conmonLine(T + 3, 'stderr', 'F', 'due'),
        conmonLine(T + 4, 'stdout', 'F', ''),
      ]),
    )
    expect(
      lines.map(({ stream, firstUs, lastUs, text }) => [stream, firstUs - T, lastUs - T, text.toString()]),
    ).toEqual([
      ['stderr', 1, 3, 'uno due'],
      ['stdout', 0, 4, 'one two '],
    ])
  })

  it('keeps NUL, invalid UTF-8, carriage returns, blanks and empty lines byte for byte', () => {
    const text = Buffer.from([0, 0xff, 0xfe, 13, 32, 32, 0xc3])
    const lines = parse(Buffer.concat([conmonLine(T, 'stdout', 'F', text), conmonLine(T, 'stdout', 'F', '')]))
    expect(lines.map((line) => line.text)).toEqual([text, Buffer.alloc(0)])
  })

  it('gives a last line without newline at the end, also one that conmon had cut', () => {
    const whole = conmonLine(T, 'stdout', 'F', 'cut')
    expect(
      parse(Buffer.concat([conmonLine(T, 'stderr', 'P', 'last')])).map((line) => [
        line.stream,
        line.text.toString(),
        line.continues,
      ]),
    ).toEqual([['stderr', 'last', false]])
    expect(parse(whole.subarray(0, -1)).map((line) => line.text.toString())).toEqual(['cut'])
  })

  it('keeps a line of 1 MiB whole and splits one above the bound without losing a byte', () => {
    const piece = 'x'.repeat(8191)
    const write = (bytes: number): Buffer => {
      const parts: Buffer[] = []
      for (let left = bytes; left > 0; left -= piece.length) {
        parts.push(conmonLine(T, 'stdout', left > piece.length ? 'P' : 'F', piece.slice(0, left)))
      }
      return Buffer.concat(parts)
    }
    expect(parse(write(1024 * 1024)).map((line) => [line.text.length, line.continues])).toEqual([[1024 * 1024, false]])
    const big = parse(write(5 * 1024 * 1024))
    expect(big.map((line) => line.continues)).toEqual([true, true, false])
    expect(big.reduce((sum, line) => sum + line.text.length, 0)).toBe(5 * 1024 * 1024)
    expect(Math.max(...big.map((line) => line.text.length))).toBeLessThanOrEqual(MAX_LINE_BYTES)
  })

  it('takes a line that is not of the format as stdout at the time of the line before', () => {
    const lines = parse(
      Buffer.concat([conmonLine(T, 'stderr', 'F', 'a'), Buffer.from('garbage\n2026-13-99T00:00:00Z stdout F b\n')]),
    )
    expect(lines.map(({ stream, firstUs, text }) => [stream, firstUs, text.toString()])).toEqual([
      ['stderr', T, 'a'],
      ['stdout', T, 'garbage'],
      ['stdout', T, '2026-13-99T00:00:00Z stdout F b'],
    ])
  })

  it('holds a million one-byte pieces in about a megabyte', () => {
    const parser = new OutputParser()
    const chunk = Buffer.concat(Array.from({ length: 1000 }, () => conmonLine(T, 'stdout', 'P', 'x')))
    for (let i = 0; i < 1000; i += 1) parser.push(chunk)
    expect(parser.heldBytes()).toBeLessThan(2.1 * 1024 * 1024)
    expect(parser.release(true)[0]?.text.length).toBe(1_000_000)
  })

  it('drops the rest of a raw line without end and counts it', () => {
    const parser = new OutputParser()
    const head = conmonLine(T, 'stdout', 'F', '').subarray(0, -1)
    parser.push(head)
    for (let i = 0; i < 5; i += 1) parser.push(Buffer.alloc(1024 * 1024, 97))
    const lines = parser.push(Buffer.from('\n'))
    const kept = lines[0]?.text.length ?? 0
    expect(kept + parser.droppedBytes).toBe(5 * 1024 * 1024)
    expect(kept).toBeGreaterThanOrEqual(MAX_LINE_BYTES)
    expect(parser.positions().stdout.offset).toBe(head.length + 5 * 1024 * 1024 + 1)
  })

  const piece = fc.record({
    stream: fc.constantFrom('stdout' as const, 'stderr' as const),
    tag: fc.constantFrom('F' as const, 'F' as const, 'P' as const),
    text: fc.uint8Array({ maxLength: 40 }).map((bytes) => Buffer.from(bytes.map((byte) => (byte === 10 ? 11 : byte)))),
    afterUs: fc.integer({ min: 0, max: 2000 }),
  })
  const pieces = fc.array(piece, { maxLength: 30 })

  function written(list: { stream: 'stdout' | 'stderr'; tag: 'F' | 'P'; text: Buffer; afterUs: number }[]): Buffer {
    let now = T
    return Buffer.concat(list.map(({ stream, tag, text, afterUs }) => conmonLine((now += afterUs), stream, tag, text)))
  }

  it('gives the same lines however the bytes are cut into chunks', () => {
    fc.assert(
      fc.property(pieces, fc.array(fc.nat(), { maxLength: 20 }), (list, cuts) => {
        const bytes = written(list)
        const at = [...new Set([0, ...cuts.map((cut) => cut % (bytes.length + 1)), bytes.length])].sort((a, b) => a - b)
        const parser = new OutputParser({ maxLineBytes: 100 })
        const lines = at.slice(1).flatMap((end, i) => parser.push(bytes.subarray(at[i], end)).map(copy))
        expect([...lines, ...parser.release(false).map(copy)]).toEqual(parse(bytes, { maxLineBytes: 100 }))
      }),
    )
  })

  it('goes on from the stored places after any chunk without losing or repeating a line', () => {
    fc.assert(
      fc.property(pieces, fc.nat(), fc.boolean(), (list, at, isReleased) => {
        const bytes = written(list)
        const cut = at % (bytes.length + 1)
        const first = new OutputParser({ maxLineBytes: 100 })
        const before = first.push(bytes.subarray(0, cut)).map(copy)
        if (isReleased) before.push(...first.release(true).map(copy))
        const copied = first.positions()
        const from = earliest(copied)
        const second = new OutputParser({ from, copied, maxLineBytes: 100 })
        const after = [...second.push(bytes.subarray(from.offset)).map(copy), ...second.release(false).map(copy)]
        const whole = parse(bytes, { maxLineBytes: 100 })
        const textOf = (lines: ParsedLine[], stream: string): string =>
          lines
            .map((line) => (line.stream === stream ? line.text.toString('hex') + (line.continues ? '' : '.') : ''))
            .join('')
        for (const stream of ['stdout', 'stderr']) {
          const joined = textOf([...before, ...after], stream)
          // a released line whose rest is empty has nothing to come
          expect(joined === textOf(whole, stream) || `${joined}.` === textOf(whole, stream)).toBe(true)
        }
      }),
    )
  })
})
