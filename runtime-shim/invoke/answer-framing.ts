import { ChunkedBody } from './chunked-body.ts'
import { malformed } from './malformed.ts'

/** Of all heads of one answer, interim ones included. */
export const MAX_HEAD_BYTES = 32 * 1024
export const HEAD_END = Buffer.from('\r\n\r\n')
const STATUS_LINE = /^HTTP\/1\.[01] [1-9][0-9]{2}(?: [^\r\n]*)?$/

/** Where the body ends (RFC 9112 6.3): after so many bytes, where its chunks say, or with the connection. */
export type Framing = number | ChunkedBody | 'until-end'

export function headTooLarge(): Error {
  return malformed('its head is larger than 32 KB')
}

/** Throws `answer-malformed`. */
export function statusOf(line: string): number {
  if (!STATUS_LINE.test(line)) throw malformed(`it begins with "${line.slice(0, 100)}"`)
  return Number(line.slice(9, 12))
}

/** The header fields that frame a message. */
export class FramingFields {
  length: string | undefined
  coding: string | undefined
  connection = ''
  keepAlive = ''

  add(name: string, value: string): void {
    switch (name.toLowerCase()) {
      case 'content-length':
        if (this.length !== undefined) throw malformed('it has Content-Length more than once')
        this.length = value
        break
      case 'transfer-encoding':
        if (this.coding !== undefined) throw malformed('it has Transfer-Encoding more than once')
        this.coding = value
        break
      case 'connection':
        this.connection += `,${value.toLowerCase()}`
        break
      case 'keep-alive':
        this.keepAlive += `,${value.toLowerCase()}`
        break
    }
  }
}

/** Of the four names above: every other line is passed over by the length of its name. */
const FRAMING_LENGTHS = new Set([10, 14, 17])

/** Reads the lines of a head from `from` on, and tells `onField` of each, if given. */
export function framingFields(
  head: string,
  from: number,
  onField?: (name: string, value: string) => void,
): FramingFields {
  const fields = new FramingFields()
  for (let at = from; at < head.length; ) {
    const found = head.indexOf('\r\n', at)
    const end = found === -1 ? head.length : found
    const colon = head.indexOf(':', at)
    if (colon <= at || colon > end || isBlank(head, at) || isBlank(head, colon - 1)) {
      throw malformed(`it has the header line "${head.slice(at, Math.min(end, at + 100))}"`)
    }
    const frames = FRAMING_LENGTHS.has(colon - at)
    if (frames || onField !== undefined) {
      const name = head.slice(at, colon)
      const value = head.slice(colon + 1, end).trim()
      if (frames) fields.add(name, value)
      onField?.(name, value)
    }
    at = end + 2
  }
  return fields
}

/** Blank or tab: a line that begins with one continues the line before (RFC 9112 5.2), and before the colon it hides a name (5.1). */
function isBlank(text: string, at: number): boolean {
  const code = text.charCodeAt(at)
  return code === 0x20 || code === 0x09
}

export function framingOf({ length, coding }: FramingFields): Framing {
  if (coding !== undefined) {
    if (length !== undefined) throw malformed('it has both Content-Length and Transfer-Encoding')
    if (coding.toLowerCase() !== 'chunked') throw malformed(`its Transfer-Encoding is "${coding.slice(0, 100)}"`)
    return new ChunkedBody()
  }
  if (length === undefined) return 'until-end'
  if (!/^[0-9]{1,15}$/.test(length)) throw malformed(`its Content-Length is "${length.slice(0, 100)}"`)
  return Number(length)
}

/** How long the function says that it keeps the connection: 0 when it closes it, infinite when it says nothing. */
export function announcedMs(isHttp11: boolean, { connection, keepAlive }: FramingFields): number {
  if (connection.includes('close')) return 0
  if (!isHttp11 && !connection.includes('keep-alive')) return 0
  const announced = keepAlive === '' ? null : /timeout=([0-9]{1,6})/.exec(keepAlive)
  return announced === null ? Number.POSITIVE_INFINITY : Number(announced[1]) * 1_000
}
