const ZERO = 48
const SPACE = 32

/** What stands before the text of a line: when it was read from the instance, and whether the line ends with it. */
export interface LineHead {
  timeUs: number
  isError: boolean
  isPartial: boolean
  /** Where the text begins. */
  textAt: number
}

/** Length of `2026-11-21T00:34:47.`. */
const SECONDS = 20

/**
 * Reads `TIME STREAM F|P ` at `from`. TIME is RFC 3339 with up to nine digits of a second, `Z` or an offset. Undefined for anything else.
 * All lines that conmon took in one read carry one stamp, and most stamps differ from the last one in the fraction only: the last is kept.
 */
export class HeadReader {
  #last = Buffer.alloc(0)
  /** Whether the kept stamp is `SECONDS`, nine digits and an offset. */
  #isConmon = false
  #lastUs = 0
  /** Time of the kept stamp without its fraction. */
  #secondUs = 0

  read(line: Buffer, from: number, to: number): LineHead | undefined {
    const timeBytes = this.#time(line, from, to)
    const stampEnd = from + timeBytes
    // ' stdout F ' is ten bytes
    if (timeBytes === 0 || stampEnd + 10 > to) return undefined
    const isError = hasWord(line, stampEnd, ' stderr ')
    if (!isError && !hasWord(line, stampEnd, ' stdout ')) return undefined
    const tag = line[stampEnd + 8]
    if ((tag !== 70 && tag !== 80) || line[stampEnd + 9] !== SPACE) return undefined
    return { timeUs: this.#lastUs, isError, isPartial: tag === 80, textAt: stampEnd + 10 }
  }

  /** Length of the stamp at `from`, 0 when there is none. */
  #time(line: Buffer, from: number, to: number): number {
    const last = this.#last.length
    if (last > 0 && from + last < to && line[from + last] === SPACE) {
      if (line.compare(this.#last, 0, last, from, from + last) === 0) return last
      if (this.#isConmon && this.#hasSameSecond(line, from)) {
        const fraction = fractionAt(line, from + SECONDS)
        if (fraction !== undefined) {
          line.copy(this.#last, SECONDS, from + SECONDS, from + SECONDS + 9)
          this.#lastUs = this.#secondUs + fraction
          return last
        }
      }
    }
    return this.#newTime(line, from)
  }

  #hasSameSecond(line: Buffer, from: number): boolean {
    const zone = SECONDS + 9
    return (
      line.compare(this.#last, 0, SECONDS, from, from + SECONDS) === 0 &&
      line.compare(this.#last, zone, this.#last.length, from + zone, from + this.#last.length) === 0
    )
  }

  #newTime(line: Buffer, from: number): number {
    const end = line.indexOf(SPACE, from)
    if (end < 0 || end - from > 40) return 0
    const parts = /^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?(Z|[+-]\d\d:\d\d)$/.exec(
      line.toString('latin1', from, end),
    )
    if (parts === null) return 0
    const [, seconds = '', fraction = '', zone = ''] = parts
    const ms = Date.parse(seconds + zone)
    if (Number.isNaN(ms)) return 0
    this.#last = Buffer.from(line.subarray(from, end))
    this.#isConmon = fraction.length === 9
    this.#secondUs = ms * 1000
    this.#lastUs = this.#secondUs + Number(fraction.padEnd(6, '0').slice(0, 6))
    return end - from
  }
}

/** Microseconds of nine digits. */
function fractionAt(line: Buffer, at: number): number | undefined {
  let value = 0
  for (let i = 0; i < 9; i += 1) {
    const digit = (line[at + i] ?? 0) - ZERO
    if (digit < 0 || digit > 9) return undefined
    if (i < 6) value = value * 10 + digit
  }
  return value
}

function hasWord(line: Buffer, at: number, word: string): boolean {
  for (let i = 0; i < word.length; i += 1) if (line[at + i] !== word.charCodeAt(i)) return false
  return true
}
