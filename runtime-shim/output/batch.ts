import { crc32 } from 'node:zlib'
import { AppError } from '../../common/index.ts'
import { GrowingBuffer } from './growing-buffer.ts'
import type { Positions } from './parse.ts'

export type RecordStream = 'stdout' | 'stderr' | 'platform'

/** A stored line. */
export interface LogRecord {
  stream: RecordStream
  /** Microseconds since 1970. */
  timeUs: number
  requestId: string | null
  /** The next line of the same instance and stream is the rest of this one. */
  continues: boolean
  text: Buffer
}

/** What the head of a stored batch says. */
export interface BatchHead {
  /** `lines`: records of one instance, with the place up to which its output is copied by them. `checkpoint`: JSON that a segment begins with. */
  kind: 'lines' | 'checkpoint'
  bytes: number
  instance: string
  records: number
  minUs: number
  maxUs: number
  positions: Positions
}

/*
 * A batch on disk, little endian. The checksum covers everything after itself, so a batch that a kill cut short is not taken for one.
 *   0 magic   4 payload bytes   8 crc32   12 kind   16 instance (8 bytes)   24 records
 *  28 stdout file   32 stdout offset (6 bytes)   38 stderr file   42 stderr offset (6 bytes)   48 min time   56 max time (doubles, µs)
 *  64 payload: records of  flags (1)  text bytes (4)  time (8)  [request id: length (1), bytes]  text
 */
export const HEAD_BYTES = 64
const MAGIC = 0x31424c53
const KINDS = ['', 'lines', 'checkpoint'] as const
const STREAMS = ['stdout', 'stderr', 'platform'] as const
const STREAM_MASK = 3
const CONTINUES = 4
const HAS_REQUEST = 8
const SAME_REQUEST = 16
/** A record without its text and with the longest request id. */
const RECORD_BYTES = 13 + 1 + 255
export const MAX_BATCH_BYTES = 64 * 1024 * 1024

/** Collects records of one instance into a batch. Reusable: `take` empties it and holds no memory afterwards. */
export class BatchBuilder {
  /** Room for the head, then the records. */
  readonly #batch = new GrowingBuffer()
  #records = 0
  #minUs = Number.POSITIVE_INFINITY
  #maxUs = Number.NEGATIVE_INFINITY
  #lastRequest: string | null = null

  get records(): number {
    return this.#records
  }

  /** Reserves memory for about this many bytes of records. */
  expect(bytes: number): void {
    this.#batch.reserve(HEAD_BYTES + bytes)
  }

  add(record: LogRecord): void {
    const block = this.#batch.reserve(HEAD_BYTES + RECORD_BYTES + record.text.length)
    if (this.#batch.length === 0) this.#batch.advance(HEAD_BYTES)
    const start = this.#batch.length
    const { requestId } = record
    const isSame = requestId !== null && requestId === this.#lastRequest
    let flags = STREAMS.indexOf(record.stream) | (record.continues ? CONTINUES : 0)
    if (requestId !== null) flags |= isSame ? HAS_REQUEST | SAME_REQUEST : HAS_REQUEST
    block[start] = flags
    block.writeUInt32LE(record.text.length, start + 1)
    block.writeDoubleLE(record.timeUs, start + 5)
    let at = start + 13
    if (requestId !== null && !isSame) {
      const written = block.write(requestId, at + 1, 255, 'utf8')
      block[at] = written
      at += 1 + written
      this.#lastRequest = requestId
    }
    at += record.text.copy(block, at)
    this.#batch.advance(at - start)
    this.#records += 1
    this.#minUs = Math.min(this.#minUs, record.timeUs)
    this.#maxUs = Math.max(this.#maxUs, record.timeUs)
  }

  take(instance: string, positions: Positions): Buffer {
    if (this.#batch.length === 0) this.#batch.append(Buffer.alloc(HEAD_BYTES))
    const times = this.#records === 0 ? { minUs: 0, maxUs: 0 } : { minUs: this.#minUs, maxUs: this.#maxUs }
    const batch = this.#batch.bytes()
    seal(batch, { kind: 'lines', instance, records: this.#records, positions, ...times })
    this.#batch.clear()
    this.#records = 0
    this.#minUs = Number.POSITIVE_INFINITY
    this.#maxUs = Number.NEGATIVE_INFINITY
    this.#lastRequest = null
    return batch
  }
}

const START = { file: 0, offset: 0 }

export function checkpointBatch(content: unknown): Buffer {
  const batch = Buffer.concat([Buffer.alloc(HEAD_BYTES), Buffer.from(JSON.stringify(content))])
  const instance = '0'.repeat(16)
  seal(batch, {
    kind: 'checkpoint',
    instance,
    records: 0,
    minUs: 0,
    maxUs: 0,
    positions: { stdout: START, stderr: START },
  })
  return batch
}

/** Writes the head of a batch whose payload stands in its place. */
function seal(batch: Buffer, head: Omit<BatchHead, 'bytes'>): void {
  batch.fill(0, 0, HEAD_BYTES)
  batch.writeUInt32LE(MAGIC, 0)
  batch.writeUInt32LE(batch.length - HEAD_BYTES, 4)
  batch[12] = KINDS.indexOf(head.kind)
  batch.write(head.instance, 16, 8, 'hex')
  batch.writeUInt32LE(head.records, 24)
  batch.writeUInt32LE(head.positions.stdout.file, 28)
  batch.writeUIntLE(head.positions.stdout.offset, 32, 6)
  batch.writeUInt32LE(head.positions.stderr.file, 38)
  batch.writeUIntLE(head.positions.stderr.offset, 42, 6)
  batch.writeDoubleLE(head.minUs, 48)
  batch.writeDoubleLE(head.maxUs, 56)
  batch.writeUInt32LE(crc32(batch.subarray(12)), 8)
}

/** The head at `at`, or undefined when no batch can begin there (the checksum is not looked at). */
export function readHead(bytes: Buffer, at: number): BatchHead | undefined {
  if (at + HEAD_BYTES > bytes.length || bytes.readUInt32LE(at) !== MAGIC) return undefined
  const kind = KINDS[bytes[at + 12] ?? 0]
  const payloadBytes = bytes.readUInt32LE(at + 4)
  if (kind === undefined || kind === '' || payloadBytes > MAX_BATCH_BYTES) return undefined
  return {
    kind,
    bytes: HEAD_BYTES + payloadBytes,
    instance: bytes.toString('hex', at + 16, at + 24),
    records: bytes.readUInt32LE(at + 24),
    positions: {
      stdout: { file: bytes.readUInt32LE(at + 28), offset: bytes.readUIntLE(at + 32, 6) },
      stderr: { file: bytes.readUInt32LE(at + 38), offset: bytes.readUIntLE(at + 42, 6) },
    },
    minUs: bytes.readDoubleLE(at + 48),
    maxUs: bytes.readDoubleLE(at + 56),
  }
}

/** Whether the whole batch of `head` stands at `at`, as it was written. */
export function isIntact(bytes: Buffer, at: number, head: BatchHead): boolean {
  const end = at + head.bytes
  return end <= bytes.length && crc32(bytes.subarray(at + 12, end)) === bytes.readUInt32LE(at + 8)
}

/** The records of an intact batch at `at`; their text shares memory with `bytes`. */
export function readRecords(bytes: Buffer, at: number, head: BatchHead): (LogRecord & { instance: string })[] {
  const { instance } = head
  const found: (LogRecord & { instance: string })[] = []
  const end = at + head.bytes
  let next = at + HEAD_BYTES
  let requestId: string | null = null
  for (let i = 0; i < head.records; i += 1) {
    const flags = bytes[next] ?? 0
    const textBytes = bytes.readUInt32LE(next + 1)
    const timeUs = bytes.readDoubleLE(next + 5)
    next += 13
    if ((flags & HAS_REQUEST) !== 0 && (flags & SAME_REQUEST) === 0) {
      const length = bytes[next] ?? 0
      requestId = bytes.toString('utf8', next + 1, next + 1 + length)
      next += 1 + length
    }
    if (next + textBytes > end) throw new AppError('a stored batch of log lines is damaged', { code: 'log-damaged' })
    found.push({
      instance,
      stream: STREAMS[flags & STREAM_MASK] ?? 'stdout',
      timeUs,
      requestId: (flags & HAS_REQUEST) !== 0 ? requestId : null,
      continues: (flags & CONTINUES) !== 0,
      text: bytes.subarray(next, next + textBytes),
    })
    next += textBytes
  }
  return found
}

export function checkpointContent(bytes: Buffer, at: number, head: BatchHead): unknown {
  return JSON.parse(bytes.toString('utf8', at + HEAD_BYTES, at + head.bytes))
}
