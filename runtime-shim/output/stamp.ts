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

/**
 * Reads `TIME STREAM F|P ` at `from`. TIME is RFC 3339 with up to nine digits of a second, `Z` or an offset. Undefined for anything else.
 * All lines that conmon took in one read carry one stamp, so the last one is kept and compared first.
 */
export class HeadReader {
  #lastStamp = Buffer.alloc(0)
  #lastUs = 0

  read(line: Buffer, from: number, to: number): LineHead | undefined {
    const last = this.#lastStamp.length
    const isRepeated =
      last > 0 &&
      line[from + last] === SPACE &&
      line.compare(this.#lastStamp, 0, last, from, Math.min(from + last, to)) === 0
    const stampEnd = isRepeated ? from + last : line.indexOf(SPACE, from)
    // ' stdout F ' is ten bytes
    if (stampEnd < 0 || stampEnd + 10 > to || stampEnd - from > 40) return undefined
    if (!isRepeated) {
      const timeUs = parseStamp(line, from, stampEnd)
      if (timeUs === undefined) return undefined
      this.#lastStamp = Buffer.from(line.subarray(from, stampEnd))
      this.#lastUs = timeUs
    }
    const isError = hasWord(line, stampEnd, ' stderr ')
    if (!isError && !hasWord(line, stampEnd, ' stdout ')) return undefined
    const tag = line[stampEnd + 8]
    if ((tag !== 70 && tag !== 80) || line[stampEnd + 9] !== SPACE) return undefined
    return { timeUs: this.#lastUs, isError, isPartial: tag === 80, textAt: stampEnd + 10 }
  }
}

function hasWord(line: Buffer, at: number, word: string): boolean {
  for (let i = 0; i < word.length; i += 1) if (line[at + i] !== word.charCodeAt(i)) return false
  return true
}

function parseStamp(line: Buffer, from: number, to: number): number | undefined {
  const text = line.toString('latin1', from, to)
  const parts = /^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?(Z|[+-]\d\d:\d\d)$/.exec(text)
  if (parts === null) return undefined
  const [, seconds = '', fraction = '', zone = ''] = parts
  const ms = Date.parse(seconds + zone)
  if (Number.isNaN(ms)) return undefined
  return ms * 1000 + microseconds(fraction)
}

function microseconds(fraction: string): number {
  let value = 0
  for (let i = 0; i < 6; i += 1) value = value * 10 + (i < fraction.length ? fraction.charCodeAt(i) - ZERO : 0)
  return value
}
