import {
  type ByteString,
  MAX_PATH_BYTES,
  refuse,
  type SparseSegment,
  type TarEntry,
  type TarEntryType,
} from './tar-entry.ts'
import { parseDecimal, parseNumber, parseTime } from './tar-numbers.ts'
import type { PaxRecords } from './tar-pax.ts'
import { paxSparseMap, readOldSparsePairs } from './tar-sparse.ts'

export const BLOCK_BYTES = 512

/** What stands before a header and changes it: GNU long names and the records of a PAX extended header. */
export interface HeaderPrefix {
  longPath: ByteString | undefined
  longLink: ByteString | undefined
  pax: PaxRecords | undefined
}

export interface Header {
  entry: TarEntry
  /** Bytes that follow in the tar, before padding. */
  storedBytes: number
  sparse: SparseFormat
}

/** Whether a map of segments is still to be read: blocks after the header (`old`), or blocks before the data (`map-in-data`). */
export type SparseFormat =
  | { kind: 'none' }
  | { kind: 'known'; segments: SparseSegment[] }
  | { kind: 'old'; segments: SparseSegment[]; more: boolean }
  | { kind: 'map-in-data' }

const TYPES: Readonly<Record<string, TarEntryType>> = {
  '\0': 'file',
  '0': 'file',
  '7': 'file',
  S: 'file',
  '1': 'link',
  '2': 'symlink',
  '3': 'character',
  '4': 'block',
  '5': 'directory',
  '6': 'fifo',
}
const XATTR_PREFIX = 'SCHILY.xattr.'
const MAX_ID = 0xffff_fffe
const MAX_SECONDS = 2 ** 40

/** The sum of all bytes with the checksum field as blanks; old programs summed signed bytes, both are accepted. */
export function checksumFits(block: Buffer): boolean {
  const stored = parseNumber(block, 148, 8)
  let unsigned = 0
  let signed = 0
  for (let index = 0; index < BLOCK_BYTES; index += 1) {
    const byte = index >= 148 && index < 156 ? 0x20 : (block[index] ?? 0)
    unsigned += byte
    signed += byte < 128 ? byte : byte - 256
  }
  return stored === unsigned || stored === signed
}

/** Reads a header block together with what stood before it (pax(1); GNU tar manual, "Basic Tar Format"). */
export function readHeader(block: Buffer, prefix: HeaderPrefix): Header {
  const pax = prefix.pax ?? []
  const value = (key: string): string | undefined => pax.findLast(([name]) => name === key)?.[1] || undefined
  const decimal = (key: string, offset: number, length: number): number => {
    const text = value(key)
    return text === undefined ? parseNumber(block, offset, length) : parseDecimal(text, key)
  }
  const flag = String.fromCharCode(block[156] ?? 0)
  const plain = TYPES[flag]
  if (plain === undefined) throw refuse(`unknown entry type ${JSON.stringify(flag)}`)
  const path = value('GNU.sparse.name') ?? value('path') ?? prefix.longPath ?? ustarPath(block)
  const type = plain === 'file' && path.endsWith('/') ? 'directory' : plain
  const size = decimal('size', 124, 12)
  const storedBytes = plain === 'file' ? size : 0
  const sparse = plain === 'file' ? sparseFormat(flag, block, pax) : ({ kind: 'none' } as const)
  const mtime = value('mtime')
  const entry: TarEntry = {
    type,
    path: checkPath(path),
    linkPath: checkPath(value('linkpath') ?? prefix.longLink ?? text(block, 157, 100)),
    mode: parseNumber(block, 100, 8) & 0o7777,
    uid: checkId(decimal('uid', 108, 8)),
    gid: checkId(decimal('gid', 116, 8)),
    sizeBytes: realSize(size, sparse, block, value),
    modified: mtime === undefined ? { seconds: parseNumber(block, 136, 12), nanoseconds: 0 } : parseTime(mtime),
    xattrs: xattrsOf(pax),
    segments: undefined,
  }
  if (Math.abs(entry.modified.seconds) > MAX_SECONDS) throw refuse('a modification time is out of range')
  if (size < 0 || (type === 'directory' && storedBytes > 0)) throw refuse('an entry has an impossible size')
  return { entry: type === 'file' ? entry : { ...entry, sizeBytes: 0 }, storedBytes, sparse }
}

function sparseFormat(flag: string, block: Buffer, pax: PaxRecords): SparseFormat {
  if (flag === 'S') {
    const segments: SparseSegment[] = []
    readOldSparsePairs(block, 386, 4, segments)
    return { kind: 'old', segments, more: block[482] !== 0 }
  }
  if (pax.some(([key, value]) => key === 'GNU.sparse.major' && value === '1')) return { kind: 'map-in-data' }
  const segments = paxSparseMap(pax)
  return segments === undefined ? { kind: 'none' } : { kind: 'known', segments }
}

function realSize(
  size: number,
  sparse: SparseFormat,
  block: Buffer,
  value: (key: string) => string | undefined,
): number {
  if (sparse.kind === 'none') return size
  if (sparse.kind === 'old') return parseNumber(block, 483, 12)
  return parseDecimal(value('GNU.sparse.realsize') ?? value('GNU.sparse.size') ?? '', 'sparse size')
}

/** Name and, in the POSIX format only, prefix: GNU's own format keeps other things at the prefix's place. */
function ustarPath(block: Buffer): ByteString {
  const name = text(block, 0, 100)
  const isPosix = block.toString('latin1', 257, 263) === 'ustar\0'
  const prefix = isPosix ? text(block, 345, 155) : ''
  return prefix === '' ? name : `${prefix}/${name}`
}

function text(block: Buffer, offset: number, length: number): ByteString {
  const nul = block.indexOf(0, offset)
  return block.toString('latin1', offset, nul === -1 || nul > offset + length ? offset + length : nul)
}

function checkPath(path: ByteString): ByteString {
  if (path.length > MAX_PATH_BYTES) throw refuse(`a name is longer than ${MAX_PATH_BYTES} bytes`)
  if (path.includes('\0')) throw refuse('a name holds a NUL byte')
  return path
}

function checkId(id: number): number {
  if (id < 0 || id > MAX_ID) throw refuse('an owner is out of range')
  return id
}

/** An empty value takes a record back (pax(1)), so that an attribute without a value cannot be said. */
function xattrsOf(pax: PaxRecords): ReadonlyMap<string, ByteString> | undefined {
  const own = pax.filter(([key, value]) => key.startsWith(XATTR_PREFIX) && value !== '')
  return own.length === 0 ? undefined : new Map(own.map(([key, value]) => [key.slice(XATTR_PREFIX.length), value]))
}
