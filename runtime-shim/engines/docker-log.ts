import { AppError } from '../../common/index.ts'

/** One message of a container's log: a line, or a part of one that is longer than the Engine's buffer of 16 KiB. */
export interface LogRecord {
  /** RFC 3339 with nine decimals and `+00:00`: comparable as text. */
  time: string
  stream: 'stdout' | 'stderr'
  /** False when the next record of the stream goes on with the same line. */
  whole: boolean
  text: Buffer
}

const HEADER_BYTES = 8
/** Parts are 16 KiB and a time; anything far bigger is no log of an Engine. */
const MAX_FRAME_BYTES = 4 * 1024 * 1024
const PART_BYTES = 16 * 1024
const NEWLINE = 10

/**
 * Takes the Engine's multiplexed log stream (Engine API, "Attach to a container", stream format) apart: eight bytes of header
 * (stream, length), then one message that begins with its time. Holds at most one message.
 */
export class LogFrames {
  #rest: Buffer = Buffer.alloc(0)

  push(chunk: Buffer): LogRecord[] {
    let data = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk])
    const records: LogRecord[] = []
    while (data.length >= HEADER_BYTES) {
      const length = data.readUInt32BE(4)
      if (length > MAX_FRAME_BYTES) throw malformed(`a message of ${length} bytes`)
      if (data.length < HEADER_BYTES + length) break
      records.push(parseMessage(data[0], data.subarray(HEADER_BYTES, HEADER_BYTES + length)))
      data = data.subarray(HEADER_BYTES + length)
    }
    this.#rest = Buffer.from(data)
    return records
  }
}

function parseMessage(stream: number | undefined, message: Buffer): LogRecord {
  if (stream !== 1 && stream !== 2) throw malformed(message.toString('utf8', 0, 300))
  const space = message.indexOf(32)
  const time = message.toString('latin1', 0, Math.max(space, 0))
  if (!/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z$/.test(time)) throw malformed(`no time in "${time.slice(0, 100)}"`)
  const ended = message.at(-1) === NEWLINE
  const text = message.subarray(space + 1, ended ? -1 : undefined)
  // The `local` driver ends the last part of a long line without a newline; only a full part is followed by another.
  const whole = ended || text.length < PART_BYTES
  return { time: `${time.slice(0, -1)}+00:00`, stream: stream === 1 ? 'stdout' : 'stderr', whole, text }
}

function malformed(what: string): AppError {
  return new AppError(`the log of the Docker Engine cannot be read: ${what}`, {
    code: 'engine-failed',
    fault: 'dependency',
  })
}

/** The record as a line of conmon's k8s-file format: `TIME STREAM F|P TEXT`. */
export function formatRecord(record: LogRecord): Buffer {
  const head = Buffer.from(`${record.time} ${record.stream} ${record.whole ? 'F' : 'P'} `, 'latin1')
  return Buffer.concat([head, record.text, Buffer.of(NEWLINE)])
}

/** `since` of the logs API for a record's time: seconds and nanoseconds since 1970. */
export function sinceParameter(time: string): string {
  return `${Math.floor(Date.parse(time) / 1000)}.${time.slice(20, 29)}`
}

/** The time `ms` earlier, in the same notation. */
export function earlier(time: string, ms: number): string {
  const instant = new Date(Date.parse(time) - ms).toISOString()
  return `${instant.slice(0, -1)}${time.slice(23, 29)}+00:00`
}
