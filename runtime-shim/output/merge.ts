import type { InvocationRecord } from '../../api/index.ts'
import { Heap } from './heap.ts'
import { endLines, initReportLine, startLine } from './platform-lines.ts'
import type { StoredLine } from './stored-lines.ts'

/** What comes out: a stored line, or a line of the platform's own. */
export type MergedLine = { kind: 'stored'; timeUs: number; line: StoredLine } | PlatformLine

export interface PlatformLine {
  kind: 'platform'
  timeUs: number
  instance: string | null
  requestId: string
  text: string
}

/** Records tell the start to the millisecond: within this, a call that began on the same instance began after the end. */
const RECORD_PRECISION_US = 2000

interface Call {
  requestId: string
  instance: string | null
  /** Present until it came out. */
  start: Item | undefined
  end: Item | undefined
  startUs: number
  /** Stored lines that wait, and the place of the last one. */
  waiting: number
  lastKey: number
}

interface Item {
  key: number
  sequence: number
  call: Call | undefined
  /** The line itself, or the lines of a start or an end. */
  lines: MergedLine[]
  bytes: number
}

/**
 * Brings lines of several instances and the platform's lines into the order of time. What each instance printed stays in its own order
 * whatever the clock does; START stands before the first line of its call, END after its last, and before the next START of the instance.
 * Pure: it orders what it has been given; the caller decides how far ahead to read.
 */
export class LineMerge {
  readonly #heap = new Heap<Item>((a, b) => a.key < b.key || (a.key === b.key && a.sequence < b.sequence))
  readonly #calls = new Map<string, Call>()
  /** Calls whose end waits, by instance. */
  readonly #ending = new Map<string | null, Set<Call>>()
  readonly #lastKeys = new Map<string, number>()
  #sequence = 0
  #bytes = 0

  get size(): number {
    return this.#heap.size
  }

  get bytes(): number {
    return this.#bytes
  }

  /** Time of the first line that would come out. */
  get nextUs(): number | undefined {
    return this.#heap.peek()?.key
  }

  addLine(line: StoredLine): number {
    const key = Math.max(line.timeUs, this.#lastKeys.get(line.instance) ?? 0)
    this.#lastKeys.set(line.instance, key)
    const call = line.requestId === null ? undefined : this.#call(line.requestId, line.instance)
    if (call !== undefined) {
      call.waiting += 1
      call.lastKey = key
    }
    this.#push(key, call, [{ kind: 'stored', timeUs: line.timeUs, line }], line.text.length)
    return key
  }

  /** A call that runs. */
  addStart(requestId: string, instance: string | null, startUs: number): void {
    const call = this.#call(requestId, instance)
    call.startUs = startUs
    call.start = this.#push(startUs, call, platformLines(call, startUs, [startLine(requestId)]))
  }

  /** A finished call; `withStart` unless its START came out before. */
  addRecord(record: InvocationRecord, withStart: boolean): void {
    const { requestId, instance } = record
    const startUs = record.startedAtMs * 1000
    const call = this.#call(requestId, instance)
    call.startUs = startUs
    const init = initReportLine(record)
    const first = [...(withStart ? [startLine(requestId)] : []), ...(init === undefined ? [] : [init])]
    if (first.length > 0) call.start = this.#push(startUs, call, platformLines(call, startUs, first))
    const endUs = Math.round(startUs + record.durationMs * 1000)
    call.end = this.#push(endUs, call, platformLines(call, endUs, endLines(record)))
    const ending = this.#ending.get(instance) ?? new Set()
    this.#ending.set(instance, ending.add(call))
  }

  /** The next lines in order (those of a start or an end come together); undefined when there is nothing left. */
  next(): MergedLine[] | undefined {
    for (;;) {
      const item = this.#heap.pop()
      if (item === undefined) return undefined
      const later = this.#mustWait(item)
      if (later !== undefined) this.#reorder(item, later)
      else if (item.lines.length > 0) return this.#give(item)
    }
  }

  #give(item: Item): MergedLine[] {
    this.#bytes -= item.bytes
    const { call } = item
    if (call === undefined) return item.lines
    let lines = item.lines
    if (call.start === item) call.start = undefined
    else if (call.end === item) this.#hasEnded(call)
    else {
      call.waiting -= 1
      lines = [...this.#early(call, item.key), ...lines]
    }
    if (call.start === undefined && call.end === undefined && call.waiting === 0) this.#calls.delete(call.requestId)
    return lines
  }

  #hasEnded(call: Call): void {
    call.end = undefined
    const ending = this.#ending.get(call.instance)
    ending?.delete(call)
    if (ending?.size === 0) this.#ending.delete(call.instance)
  }

  /** The START of a call whose line comes before it. */
  #early(call: Call, key: number): MergedLine[] {
    const { start } = call
    if (start === undefined) return []
    call.start = undefined
    const lines = start.lines.map((line) => ({ ...line, timeUs: Math.min(line.timeUs, key) }))
    start.lines = []
    return lines
  }

  /** The place after which an item has to stand, when it has come too early. */
  #mustWait(item: Item): number | undefined {
    const { call } = item
    if (call === undefined) return undefined
    if (item === call.end) return call.waiting > 0 && call.lastKey >= item.key ? call.lastKey : undefined
    if (item !== call.start) return undefined
    let later: number | undefined
    for (const other of this.#ending.get(call.instance) ?? []) {
      const { end } = other
      if (end === undefined || other === call || other.startUs >= call.startUs) continue
      if (end.key > item.key + RECORD_PRECISION_US) continue
      later = Math.max(later ?? 0, end.key, other.waiting > 0 ? other.lastKey : 0)
    }
    return later
  }

  #reorder(item: Item, key: number): void {
    item.key = key
    item.sequence = this.#sequence
    this.#sequence += 1
    item.lines = item.lines.map((line) => ({ ...line, timeUs: Math.max(line.timeUs, key) }))
    this.#heap.push(item)
  }

  #push(key: number, call: Call | undefined, lines: MergedLine[], textBytes = 0): Item {
    const item: Item = { key, sequence: this.#sequence, call, lines, bytes: textBytes + 200 }
    this.#sequence += 1
    this.#bytes += item.bytes
    this.#heap.push(item)
    return item
  }

  #call(requestId: string, instance: string | null): Call {
    const known = this.#calls.get(requestId)
    if (known !== undefined) return known
    const call = { requestId, instance, start: undefined, end: undefined, startUs: 0, waiting: 0, lastKey: 0 }
    this.#calls.set(requestId, call)
    return call
  }
}

function platformLines(call: Call, timeUs: number, texts: readonly string[]): MergedLine[] {
  const { requestId, instance } = call
  return texts.map((text) => ({ kind: 'platform', timeUs, instance, requestId, text }))
}
