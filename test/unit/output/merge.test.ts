import { describe, expect, it } from 'vitest'
import type { InvocationRecord } from '../../../api/index.ts'
import { LineMerge } from '../../../runtime-shim/output/merge.ts'

const I = 'aaaaaaaaaaaaaaaa'

function line(
  timeMs: number,
  text: string,
  requestId: string | null = null,
  instance = I,
): Parameters<LineMerge['addLine']>[0] {
  return { timeUs: timeMs * 1000, text: Buffer.from(text), requestId, instance, stream: 'stdout', continues: false }
}

function record(
  requestId: string,
  startedAtMs: number,
  durationMs: number,
  instance: string | null = I,
): InvocationRecord {
  const rest = {
    callerRequestId: null,
    namespace: 'd',
    function: 'f',
    version: '1',
    kind: 'event' as const,
    statusCode: 200,
  }
  return {
    ...rest,
    requestId,
    startedAtMs,
    durationMs,
    instance,
    errorMessage: null,
    memoryBytes: 0,
    memoryLimitMb: 128,
    coldStart: null,
  }
}

function order(merge: LineMerge): string[] {
  const out: string[] = []
  for (let given = merge.next(); given !== undefined; given = merge.next()) {
    for (const merged of given) {
      out.push(merged.kind === 'stored' ? merged.line.text.toString() : merged.text.replace(/RequestId:(\w+).*/, '$1'))
    }
  }
  return out
}

describe('merging lines', () => {
  it('orders lines of several instances and calls by time', () => {
    const merge = new LineMerge()
    merge.addLine(line(30, 'third'))
    merge.addLine(line(10, 'first', null, 'b'))
    merge.addLine(line(20, 'second', null, 'b'))
    merge.addRecord(record('r', 15, 10, null), true)
    expect(order(merge)).toEqual(['first', 'START r', 'second', 'END r', 'Report r', 'third'])
  })

  it('keeps the order of an instance when the clock was set back', () => {
    const merge = new LineMerge()
    merge.addLine(line(100, 'before'))
    merge.addLine(line(50, 'after'))
    expect(order(merge)).toEqual(['before', 'after'])
  })

  it('puts END after the last line of its call though records tell times to the millisecond', () => {
    const merge = new LineMerge()
    merge.addRecord(record('r', 1000, 0.8), true) // began at 1000.6
    merge.addLine(line(1000.7, 'hello', 'r'))
    merge.addLine(line(1001.3, 'bye', 'r'))
    expect(order(merge)).toEqual(['START r', 'hello', 'bye', 'END r', 'Report r'])
  })

  it('keeps calls apart that follow each other on an instance within a millisecond', () => {
    const merge = new LineMerge()
    merge.addRecord(record('a', 999, 1.9), true) // 999.2 to 1001.1
    merge.addRecord(record('b', 1001, 1), true) // 1001.2 to 1002.2
    merge.addRecord(record('c', 1002, 5), true) // 1002.3 to 1007.3
    merge.addLine(line(1001.05, 'of a', 'a'))
    merge.addLine(line(1001.6, 'of b', 'b'))
    merge.addLine(line(1003, 'of c', 'c'))
    expect(order(merge)).toEqual([
      'START a',
      'of a',
      'END a',
      'Report a',
      'START b',
      'of b',
      'END b',
      'Report b',
      'START c',
      'of c',
      'END c',
      'Report c',
    ])
  })

  it('lets calls that overlap overlap', () => {
    const merge = new LineMerge()
    merge.addRecord(record('a', 100, 100), true)
    merge.addRecord(record('b', 150, 100), true)
    merge.addLine(line(175, 'somebody'))
    expect(order(merge)).toEqual(['START a', 'START b', 'somebody', 'END a', 'Report a', 'END b', 'Report b'])
  })

  it('gives the START of a running call before its first line, and not again with its record', () => {
    const merge = new LineMerge()
    merge.addStart('r', I, 10_500)
    merge.addLine(line(10.4, 'early', 'r'))
    expect(order(merge)).toEqual(['START r', 'early'])
    merge.addRecord(record('r', 10, 5), false)
    expect(order(merge)).toEqual(['END r', 'Report r'])
  })

  it('never goes back in time in what it shows of the platform', () => {
    const merge = new LineMerge()
    merge.addRecord(record('a', 1000, 0.5), true)
    merge.addLine(line(1001, 'late', 'a'))
    const times: number[] = []
    for (let given = merge.next(); given !== undefined; given = merge.next())
      times.push(...given.map(({ timeUs }) => timeUs))
    expect(times).toEqual(times.toSorted((a, b) => a - b))
  })
})
