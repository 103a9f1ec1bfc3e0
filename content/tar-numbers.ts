import { refuse, type TarTime } from './tar-entry.ts'

const ZERO = 0x30
const SEVEN = 0x37

/**
 * A number field of a header: octal digits between blanks or NULs, or base-256 (first bit set, second bit the sign) as GNU tar writes
 * what octal cannot hold. An empty field is 0. Refuses anything else and what a double cannot hold exactly.
 */
export function parseNumber(block: Buffer, offset: number, length: number): number {
  const first = block[offset] ?? 0
  if ((first & 0x80) !== 0) return parseBase256(block, offset, length)
  let at = offset
  let end = offset + length
  while (at < end && isPadding(block[at])) at += 1
  while (end > at && isPadding(block[end - 1])) end -= 1
  let value = 0
  for (; at < end; at += 1) {
    const digit = block[at] ?? 0
    if (digit < ZERO || digit > SEVEN) throw refuse('a number in a tar header is not octal')
    value = value * 8 + (digit - ZERO)
  }
  return value
}

function isPadding(byte: number | undefined): boolean {
  return byte === 0 || byte === 0x20
}

function parseBase256(block: Buffer, offset: number, length: number): number {
  const first = block[offset] ?? 0
  const negative = (first & 0x40) !== 0
  let value = 0
  for (let index = 0; index < length; index += 1) {
    let byte = block[offset + index] ?? 0
    if (negative) byte ^= 0xff
    if (index === 0) byte &= 0x7f
    value = value * 256 + byte
    if (value > Number.MAX_SAFE_INTEGER) throw refuse('a number in a tar header is too large')
  }
  return negative ? -value - 1 : value
}

const DECIMAL = /^[0-9]{1,16}$/
const TIME = /^(-?)([0-9]{1,15})(?:\.([0-9]*))?$/

/** A number of a PAX record: decimal digits only. */
export function parseDecimal(text: string, key: string): number {
  const value = DECIMAL.test(text) ? Number(text) : Number.NaN
  if (!Number.isSafeInteger(value)) throw refuse(`the extended header's ${key} is no number`)
  return value
}

/** A time of a PAX record, `-1.25`: digits past the ninth are cut, as pax(1) cuts towards minus infinity. */
export function parseTime(text: string): TarTime {
  const match = TIME.exec(text)
  if (match === null) throw refuse("the extended header's mtime is no time")
  const [, sign = '', whole = '0', fraction = ''] = match
  const nanoseconds = Number(fraction.slice(0, 9).padEnd(9, '0'))
  const seconds = Number(whole)
  if (sign === '') return { seconds, nanoseconds }
  return nanoseconds === 0
    ? { seconds: -seconds, nanoseconds: 0 }
    : { seconds: -seconds - 1, nanoseconds: 1_000_000_000 - nanoseconds }
}
