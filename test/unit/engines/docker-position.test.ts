import fc from 'fast-check'
import { expect, it } from 'vitest'
import type { LogRecord } from '../../../runtime-shim/engines/docker-log.ts'
import { LogPosition } from '../../../runtime-shim/engines/docker-position.ts'

type Record = Pick<LogRecord, 'time' | 'stream' | 'whole'> & { number: number }

function timeOf(ms: number): string {
  return `${new Date(Date.UTC(2026, 0, 1) + ms).toISOString().slice(0, -1)}000000+00:00`
}

/** A container's log as an Engine keeps it: two streams with clocks of their own, long lines in parts that carry one time, some disorder. */
const log = fc
  .array(
    fc.record({
      step: fc.nat(400),
      late: fc.nat(400),
      stderr: fc.boolean(),
      parts: fc.nat({ max: 3 }),
      apart: fc.nat(3),
    }),
    { maxLength: 80, size: 'max' },
  )
  .map((lines) => {
    let nowMs = 1_000
    const records: Omit<Record, 'number'>[] = []
    const waiting: { dueIn: number; record: Omit<Record, 'number'> }[] = []
    for (const line of lines) {
      nowMs += line.step
      for (const entry of waiting) entry.dueIn -= 1
      while (waiting[0] !== undefined && waiting[0].dueIn <= 0) records.push(waiting.shift()?.record as Record)
      const stream = line.stderr ? 'stderr' : 'stdout'
      if (waiting.some(({ record }) => record.stream === stream)) continue // its line is not complete yet
      const time = timeOf(nowMs - line.late)
      const last = records.findLast((record) => record.stream === stream)
      if (last !== undefined && last.time >= time) continue
      records.push({ time, stream, whole: line.parts === 0 })
      for (let part = 1; part <= line.parts; part += 1) {
        waiting.push({ dueIn: part * (line.apart + 1), record: { time, stream, whole: part === line.parts } })
      }
    }
    records.push(...waiting.map(({ record }) => record))
    return records.map((record, number) => ({ ...record, number }))
  })

it('is found again after a stop at any record: nothing is copied twice, nothing is left out', () => {
  fc.assert(
    fc.property(log, fc.array(fc.nat(120), { maxLength: 12, size: 'max' }), (records, stops) => {
      const copied: number[] = []
      let position = new LogPosition()
      for (const stop of [...stops.toSorted((a, b) => a - b), records.length]) {
        // What a restarted process does: it asks for all records from the anchor's time on and skips as many as it has.
        position = new LogPosition(JSON.parse(JSON.stringify(position.toPlain())))
        const { since, seen } = position.resume
        const answered = records.filter((record) => record.time >= since).slice(seen)
        for (const record of answered) {
          if (record.number >= stop) break
          copied.push(record.number)
          position.add(record)
        }
      }
      expect(copied).toEqual(records.map((record) => record.number))
    }),
    { numRuns: 2_000 },
  )
})

it('moves on with the log, so that little of it is read again', () => {
  const position = new LogPosition()
  for (let ms = 0; ms < 60_000; ms += 10) position.add({ time: timeOf(ms), stream: 'stdout', whole: true })
  expect(position.resume.since >= timeOf(57_000)).toBe(true)
  expect(position.resume.seen).toBeLessThan(300)
})

it('waits for a long line that is not complete, since its parts carry the time of the first', () => {
  const position = new LogPosition()
  position.add({ time: timeOf(5), stream: 'stderr', whole: false })
  for (let ms = 10; ms < 60_000; ms += 10) position.add({ time: timeOf(ms), stream: 'stdout', whole: true })
  expect(position.resume.since <= timeOf(5)).toBe(true)
  position.add({ time: timeOf(5), stream: 'stderr', whole: true })
  for (let ms = 60_000; ms < 64_000; ms += 10) position.add({ time: timeOf(ms), stream: 'stdout', whole: true })
  expect(position.resume.since >= timeOf(60_000)).toBe(true)
})
