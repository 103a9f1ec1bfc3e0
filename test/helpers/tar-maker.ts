/** One entry of a made tar, with every field free: these tars are as wrong as a test wants them. */
export interface MadeEntry {
  name: string
  /** `0` file (default), `1` hard link, `2` symbolic link, `3` character, `4` block, `5` directory, `6` fifo, or anything. */
  type?: string
  linkname?: string
  content?: Buffer | string
  /** Size in the header, when it is not the content's. */
  size?: number | bigint
  mode?: number
  uid?: number
  gid?: number
  mtime?: number
  device?: [major: number, minor: number]
  prefix?: string
  pax?: Record<string, string | Buffer> | [string, string | Buffer][]
  /** `gnu`: long names as GNU tar writes them; `ustar` (default): what fits, the rest by PAX. */
  format?: 'ustar' | 'gnu'
  /** Bytes written over the finished header, which then gets its checksum. */
  patch?: [offset: number, bytes: Buffer][]
  badChecksum?: boolean
}

const BLOCK = 512

export function makeTar(entries: readonly MadeEntry[], options: { end?: boolean } = {}): Buffer {
  const parts = entries.flatMap(entryBlocks)
  if (options.end !== false) parts.push(Buffer.alloc(2 * BLOCK))
  return Buffer.concat(parts)
}

export const file = (name: string, content: Buffer | string = '', more: Partial<MadeEntry> = {}): MadeEntry => ({
  name,
  content,
  ...more,
})
export const directory = (name: string, more: Partial<MadeEntry> = {}): MadeEntry => ({
  name,
  type: '5',
  mode: 0o755,
  ...more,
})
export const symlink = (name: string, linkname: string, more: Partial<MadeEntry> = {}): MadeEntry => ({
  name,
  linkname,
  type: '2',
  mode: 0o777,
  ...more,
})
export const hardLink = (name: string, linkname: string, more: Partial<MadeEntry> = {}): MadeEntry => ({
  name,
  linkname,
  type: '1',
  ...more,
})

function entryBlocks(entry: MadeEntry): Buffer[] {
  const content = Buffer.from(entry.content ?? '')
  const pax: [string, string | Buffer][] = Array.isArray(entry.pax) ? [...entry.pax] : Object.entries(entry.pax ?? {})
  const before: Buffer[] = []
  let name = Buffer.from(entry.name)
  let link = Buffer.from(entry.linkname ?? '')
  if (entry.format === 'gnu') {
    if (name.length > 100) before.push(...gnuLong('L', name))
    if (link.length > 100) before.push(...gnuLong('K', link))
  } else {
    if (name.length > 100) pax.push(['path', entry.name])
    if (link.length > 100) pax.push(['linkpath', entry.linkname ?? ''])
  }
  name = name.subarray(0, 100)
  link = link.subarray(0, 100)
  if (pax.length > 0) {
    const records = Buffer.concat(pax.map(([key, value]) => paxRecord(key, value)))
    before.push(header({ name: 'PaxHeaders/x', type: 'x', mode: 0o644 }, records.length), padded(records))
  }
  return [...before, header(entry, content.length, name, link), padded(content)]
}

function gnuLong(type: string, value: Buffer): Buffer[] {
  const data = Buffer.concat([value, Buffer.alloc(1)])
  return [header({ name: '././@LongLink', type, format: 'gnu' }, data.length), padded(data)]
}

export function paxRecord(key: string, value: string | Buffer): Buffer {
  const rest = Buffer.concat([Buffer.from(` ${key}=`), Buffer.from(value as string), Buffer.from('\n')])
  let length = rest.length + 1
  while (String(length).length + rest.length !== length) length = String(length).length + rest.length
  return Buffer.concat([Buffer.from(String(length)), rest])
}

function padded(data: Buffer): Buffer {
  return Buffer.concat([data, Buffer.alloc((BLOCK - (data.length % BLOCK)) % BLOCK)])
}

function header(entry: MadeEntry, length: number, name = Buffer.from(entry.name), link = Buffer.alloc(0)): Buffer {
  const block = Buffer.alloc(BLOCK)
  name.copy(block, 0, 0, 100)
  number(block, 100, 8, entry.mode ?? 0o644)
  number(block, 108, 8, entry.uid ?? 0)
  number(block, 116, 8, entry.gid ?? 0)
  number(block, 124, 12, Number(entry.size ?? length))
  number(block, 136, 12, entry.mtime ?? 1_600_000_000)
  block.write(entry.type ?? '0', 156, 'latin1')
  link.copy(block, 157, 0, 100)
  block.write(entry.format === 'gnu' ? 'ustar  \0' : 'ustar\u000000', 257, 'latin1')
  if (entry.device !== undefined) {
    number(block, 329, 8, entry.device[0])
    number(block, 337, 8, entry.device[1])
  }
  block.write(entry.prefix ?? '', 345, 155, 'latin1')
  for (const [offset, bytes] of entry.patch ?? []) bytes.copy(block, offset)
  block.fill(0x20, 148, 156)
  const sum = block.reduce((total, byte) => total + byte, 0) + (entry.badChecksum === true ? 1 : 0)
  block.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148, 'latin1')
  return block
}

/** Octal where it fits, base-256 otherwise. */
function number(block: Buffer, offset: number, length: number, value: number): void {
  const digits = value >= 0 ? value.toString(8) : ''
  if (value >= 0 && digits.length < length) {
    block.write(`${digits.padStart(length - 1, '0')}\0`, offset, 'latin1')
    return
  }
  let rest = BigInt(value)
  for (let index = length - 1; index >= 0; index -= 1) {
    block[offset + index] = Number(rest & 0xffn)
    rest >>= 8n
  }
  block[offset] = (block[offset] ?? 0) | 0x80
}
