import { describe, expect, it } from 'vitest'
import { HANDOVER_US, InstanceCalls, LATE_US } from '../../../runtime-shim/output/attribute.ts'

const MS = 1000
type Event = [atMs: number, kind: 'begin' | 'end', id: string]

function calls(...events: Event[]): InstanceCalls {
  const spans = new InstanceCalls()
  for (const [atMs, kind, id] of events) spans[kind](id, atMs * MS)
  return spans
}

const one: Event[] = [
  [100, 'begin', 'a'],
  [200, 'end', 'a'],
]
const overlap: Event[] = [
  [100, 'begin', 'a'],
  [150, 'begin', 'b'],
  [200, 'end', 'a'],
  [300, 'end', 'b'],
]
const inTurn: Event[] = [
  [100, 'begin', 'a'],
  [200, 'end', 'a'],
  [200.1, 'begin', 'b'],
  [300, 'end', 'b'],
]

describe('which call a line belongs to', () => {
  it.each<[string, Event[], number, string | undefined]>([
    ['no call was ever made', [], 100, undefined],
    ['before the first call', one, 99, undefined],
    ['at the moment it begins', one, 100, 'a'],
    ['while one call is open', one, 150, 'a'],
    ['at the moment it ends', one, 200, 'a'],
    ['read a little late, while the instance is idle', one, 200 + LATE_US / MS, 'a'],
    ['later than that', one, 200.001 + LATE_US / MS, undefined],
    ['before the overlap of two calls', overlap, 140, 'a'],
    ['in the overlap of two calls', overlap, 175, undefined],
    ['just after the overlap: it may still be the ended one', overlap, 199.999 + HANDOVER_US / MS, undefined],
    ['after the overlap', overlap, 200.001 + HANDOVER_US / MS, 'b'],
    ['late, after the last of two that overlapped', overlap, 301, 'b'],
    ['just after the next call began: it may be the last of the one before', inTurn, 200.2, undefined],
    ['well inside the next call', inTurn, 201, 'b'],
    ['a call that is still open', [[100, 'begin', 'a']], 5000, 'a'],
    [
      'two calls that ended together',
      [...one.slice(0, 1), [100, 'begin', 'b'], [200, 'end', 'a'], [200.1, 'end', 'b']],
      202,
      undefined,
    ],
  ])('%s', (_when, events, atMs, expected) => {
    expect(calls(...events).of(atMs * MS, atMs * MS)?.requestId).toBe(expected)
  })

  it('gives a line no id whose pieces were written in two calls', () => {
    const spans = calls(...inTurn)
    expect(spans.of(150 * MS, 160 * MS)?.requestId).toBe('a')
    expect(spans.of(150 * MS, 250 * MS)).toBeUndefined()
  })

  it('tells when the call ended, so that its late lines can be put before its end', () => {
    const spans = calls(...one, [500, 'begin', 'b'])
    expect(spans.of(201 * MS, 201 * MS)).toEqual({ requestId: 'a', endUs: 200 * MS })
    expect(spans.of(501 * MS, 501 * MS)).toEqual({ requestId: 'b', endUs: undefined })
  })

  it('keeps order when the clock is set back', () => {
    const spans = calls([100, 'begin', 'a'], [50, 'end', 'a'])
    expect(spans.of(100 * MS, 100 * MS)?.requestId).toBe('a')
    expect(spans.of(130 * MS, 130 * MS)).toBeUndefined()
  })

  it('forgets the past and claims nothing about it', () => {
    const spans = calls(...one, [1000, 'begin', 'b'])
    spans.forgetBefore(2000 * MS)
    expect(spans.of(150 * MS, 150 * MS)).toBeUndefined()
    expect(spans.of(1500 * MS, 1500 * MS)?.requestId).toBe('b')
  })

  it('stays bounded over a hundred thousand calls whose lines are not copied', () => {
    const spans = new InstanceCalls()
    for (let i = 0; i < 100_000; i += 1) {
      spans.begin(`r${i}`, i * 1000)
      spans.end(`r${i}`, i * 1000 + 600)
    }
    expect(spans.of(100 * 1000 + 500, 100 * 1000 + 500)).toBeUndefined()
    expect(spans.of(99_999 * 1000 + 400, 99_999 * 1000 + 400)?.requestId).toBe('r99999')
  })
})
