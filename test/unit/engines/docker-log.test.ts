import { describe, expect, it } from 'vitest'
import { earlier, formatRecord, LogFrames, sinceParameter } from '../../../runtime-shim/engines/docker-log.ts'

const TIME = '2026-11-21T11:33:06.772285364Z'

function frame(stream: number, message: string | Buffer): Buffer {
  const body = Buffer.from(message)
  const head = Buffer.alloc(8)
  head[0] = stream
  head.writeUInt32BE(body.length, 4)
  return Buffer.concat([head, body])
}

function lines(...frames: Buffer[]): string[] {
  return new LogFrames().push(Buffer.concat(frames)).map((record) => formatRecord(record).toString('latin1'))
}

describe('the log stream of an Engine', () => {
  it('becomes lines with time, stream and text', () => {
    expect(lines(frame(1, `${TIME} hello\n`), frame(2, `${TIME} \n`))).toEqual([
      '2026-11-21T11:33:06.772285364+00:00 stdout F hello\n',
      '2026-11-21T11:33:06.772285364+00:00 stderr F \n',
    ])
  })

  it('is the same however it is cut', () => {
    const all = Buffer.concat([frame(1, `${TIME} one two\n`), frame(2, `${TIME} three\n`), frame(1, `${TIME} \n`)])
    for (let size = 1; size < all.length; size += 1) {
      const frames = new LogFrames()
      const records = []
      for (let at = 0; at < all.length; at += size) records.push(...frames.push(all.subarray(at, at + size)))
      expect(records.map((record) => record.text.toString())).toEqual(['one two', 'three', ''])
    }
  })

  it('marks a part of 16 KiB as going on, and its last part as the end with or without a newline', () => {
    const part = 'x'.repeat(16_384)
    const marks = lines(
      frame(1, `${TIME} ${part}`),
      frame(1, `${TIME} rest`),
      frame(1, `${TIME} ${part}`),
      frame(1, `${TIME} `),
    )
    expect(marks.map((line) => line.split(' ')[2])).toEqual(['P', 'F', 'P', 'F'])
  })

  it('keeps every byte', () => {
    const bytes = Buffer.from(Array.from({ length: 256 }, (_, i) => i).filter((byte) => byte !== 10))
    const [record] = new LogFrames().push(frame(1, Buffer.concat([Buffer.from(`${TIME} `), bytes, Buffer.from('\n')])))
    expect(record?.text.equals(bytes)).toBe(true)
  })

  it.each([
    ['a message of the Engine itself', frame(3, 'Error grabbing logs: unexpected EOF')],
    ['a message without a time', frame(1, 'hello\n')],
    ['a message of 2 GiB', Buffer.from([1, 0, 0, 0, 128, 0, 0, 0])],
  ])('is refused when it holds %s', (_, data) => {
    expect(() => new LogFrames().push(data)).toThrow(/log of the Docker Engine cannot be read/)
  })
})

describe('a time of the log', () => {
  const time = '2026-11-21T11:33:06.772285364+00:00'

  it('is asked for with all its digits', () => expect(sinceParameter(time)).toBe('1795260786.772285364'))

  it('moves back by milliseconds and keeps the finer digits', () => {
    expect(earlier(time, 1_000)).toBe('2026-11-21T11:33:05.772285364+00:00')
    expect(earlier('2026-01-01T00:00:00.000000001+00:00', 1)).toBe('2025-12-31T23:59:59.999000001+00:00')
  })
})
