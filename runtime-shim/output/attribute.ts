/** Which calls an instance served at what time, and which of them a line belongs to. Pure: times are given, microseconds since 1970. */

/**
 * A line is stamped when conmon reads it, not when the function writes it: usually 10 to 50 µs later, 0.7 ms at the 99th percentile on a
 * busy machine. So a line that is stamped within this time after the end of one call may still be that call's, whatever began since.
 * Longer would leave the first lines of nearly every call without an id when calls follow each other at once.
 */
export const HANDOVER_US = 300
/**
 * While an instance serves nothing, a line that comes this soon after its last call is that call's: written before the answer and read
 * late (12 ms at the 99th percentile with three times more to do than cores), or what the call left to be done.
 */
export const LATE_US = 20_000

const MAX_CHANGES = 8192
const SEVERAL = Symbol('several')

interface Call {
  requestId: string
  beganUs: number
  /** Undefined while it is open. */
  endUs: number | undefined
}

/** From `atUs` on, this many calls were open; `sole` is the call when it was one. More than one is not told from still more. */
interface Change {
  atUs: number
  open: 'none' | 'one' | 'several'
  sole: Call | null
}

export interface Attribution {
  requestId: string
  /** When the call ended; undefined while it is open. */
  endUs: number | undefined
}

/** The calls of one instance, kept for as long as lines of their time may still come. */
export class InstanceCalls {
  readonly #open = new Map<string, Call>()
  #changes: Change[] = []
  #lastUs = 0
  /** What happened before is forgotten. */
  #knownFromUs = 0

  begin(requestId: string, atUs: number): void {
    this.#open.set(requestId, { requestId, beganUs: atUs, endUs: undefined })
    this.#change(atUs)
  }

  end(requestId: string, atUs: number): void {
    const call = this.#open.get(requestId)
    if (call === undefined) return
    this.#open.delete(requestId)
    this.#change(atUs)
    call.endUs = this.#lastUs
  }

  get running(): { requestId: string; atUs: number }[] {
    return [...this.#open.values()].map(({ requestId, beganUs }) => ({ requestId, atUs: beganUs }))
  }

  get isServing(): boolean {
    return this.#open.size > 0
  }

  /**
   * The call that a line belongs to whose pieces were stamped from `firstUs` to `lastUs`, where that is certain: exactly one was open from
   * HANDOVER_US before the line to its end; or none was, and exactly one ended within LATE_US before it. Undefined otherwise.
   */
  of(firstUs: number, lastUs: number): Attribution | undefined {
    const fromUs = firstUs - HANDOVER_US
    const during = this.#soleWithin(fromUs, lastUs)
    if (during === SEVERAL) return undefined
    if (during !== undefined) return { requestId: during.requestId, endUs: during.endUs }
    const ended = this.#changes[this.#indexAt(firstUs)]
    if (ended === undefined || ended.open !== 'none' || firstUs - ended.atUs > LATE_US) return undefined
    const before = this.#soleWithin(ended.atUs - HANDOVER_US, lastUs)
    return before === undefined || before === SEVERAL ? undefined : { requestId: before.requestId, endUs: before.endUs }
  }

  /** Lines stamped before `atUs` have all been seen. */
  forgetBefore(atUs: number): void {
    const first = this.#indexAt(atUs - LATE_US - HANDOVER_US)
    if (first > 0) this.#drop(first)
  }

  /** The only call open at any moment from `fromUs` to `toUs`. */
  #soleWithin(fromUs: number, toUs: number): Call | typeof SEVERAL | undefined {
    if (fromUs < this.#knownFromUs) return SEVERAL
    let sole: Call | undefined
    for (let i = Math.max(0, this.#indexAt(fromUs)); i < this.#changes.length; i += 1) {
      const change = this.#changes[i]
      if (change === undefined || change.atUs > toUs) break
      if (change.open === 'none') continue
      if (change.sole === null || (sole !== undefined && sole !== change.sole)) return SEVERAL
      sole = change.sole
    }
    return sole
  }

  #change(atUs: number): void {
    if (atUs > this.#lastUs) this.#lastUs = atUs // a clock set back must not undo the order
    if (this.#open.size > 1) {
      // On a busy instance this is all there is to do: no line belongs to one of several calls, whichever they are.
      if (this.#changes.at(-1)?.open !== 'several') this.#push({ atUs: this.#lastUs, open: 'several', sole: null })
      return
    }
    const [sole = null] = this.#open.values()
    this.#push({ atUs: this.#lastUs, open: sole === null ? 'none' : 'one', sole })
  }

  #push(change: Change): void {
    this.#changes.push(change)
    if (this.#changes.length > MAX_CHANGES) this.#drop(MAX_CHANGES / 2)
  }

  /** Index of the last change at or before `atUs`; -1 when there is none. */
  #indexAt(atUs: number): number {
    let low = 0
    let high = this.#changes.length
    while (low < high) {
      const middle = (low + high) >> 1
      if ((this.#changes[middle]?.atUs ?? 0) <= atUs) low = middle + 1
      else high = middle
    }
    return low - 1
  }

  #drop(count: number): void {
    this.#changes = this.#changes.slice(count)
    this.#knownFromUs = this.#changes[0]?.atUs ?? 0
  }
}
