import { type ByteString, refuse } from './tar-entry.ts'

/** The records of one PAX extended header, in their order: GNU's first sparse format repeats keys. */
export type PaxRecords = readonly (readonly [key: ByteString, value: ByteString])[]

const SPACE = 0x20
const NEWLINE = 0x0a
const EQUALS = 0x3d

/** Reads `LENGTH KEY=VALUE\n` records (pax(1), POSIX.1-2001). Values are bytes: they may hold anything, newlines included. */
export function parsePax(data: Buffer): PaxRecords {
  const records: [ByteString, ByteString][] = []
  let at = 0
  while (at < data.length) {
    const space = data.indexOf(SPACE, at)
    const digits = space === -1 || space - at > 8 ? '' : data.toString('latin1', at, space)
    const length = /^[0-9]+$/.test(digits) ? Number(digits) : 0
    const end = at + length
    const equals = data.indexOf(EQUALS, space + 1)
    if (length === 0 || end > data.length || data[end - 1] !== NEWLINE || equals === -1 || equals >= end) {
      throw refuse('an extended header is malformed')
    }
    records.push([data.toString('latin1', space + 1, equals), data.toString('latin1', equals + 1, end - 1)])
    at = end
  }
  return records
}
