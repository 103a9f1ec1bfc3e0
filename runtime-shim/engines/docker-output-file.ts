import { closeSync, createReadStream, existsSync, openSync, readFileSync, renameSync, truncateSync } from 'node:fs'
import { appendFile, truncate } from 'node:fs/promises'
import { writeFileAtomic } from '../../common/index.ts'
import { formatRecord, type LogRecord } from './docker-log.ts'
import { LogPosition, type PlainPosition } from './docker-position.ts'

/** What is written down at each rotation: from here on the current file tells the rest. */
interface Cursor {
  rotated: number
  position: PlainPosition
}

const MODE = 0o600
const RECORD_HEAD = /^(\S+) (stdout|stderr) ([FP]) /

/**
 * The output file of a Docker instance. The file itself says how far the log has been copied: after a crash the position is counted anew from
 * its lines, so a record is in it exactly once whatever the moment. Opened for each write, so that nothing has to be closed.
 */
export class OutputFile {
  readonly path: string
  readonly #cursorPath: string
  readonly #position: LogPosition
  #rotated: number
  #size: number
  /** Writes and rotations, one after the other. */
  #last: Promise<unknown> = Promise.resolve()

  private constructor(path: string, cursorPath: string, found: Found) {
    this.path = path
    this.#cursorPath = cursorPath
    this.#position = found.position
    this.#rotated = found.rotated
    this.#size = found.size
  }

  /** Opens the file at `path`, made new or left by an earlier process. `cursorPath` is rewritten at each rotation. */
  static async open(path: string, cursorPath: string): Promise<OutputFile> {
    const cursor = readCursor(cursorPath)
    const position = new LogPosition(cursor?.position)
    let rotated = cursor?.rotated ?? 0
    const moved = `${path}.${rotated + 1}`
    if (!existsSync(path) && existsSync(moved)) {
      // Killed between the two steps of a rotation: the moved file is not yet part of the cursor.
      await countRecords(moved, position)
      rotated += 1
      writeCursor(cursorPath, { rotated, position: position.toPlain() })
    }
    begin(path)
    return new OutputFile(path, cursorPath, { position, rotated, size: await countRecords(path, position) })
  }

  get position(): LogPosition {
    return this.#position
  }

  /** Appends records and counts them, or, when that fails, leaves file and position as they were. */
  append(records: readonly LogRecord[]): Promise<void> {
    return this.#inTurn(async () => {
      const data = Buffer.concat(records.map(formatRecord))
      try {
        await appendFile(this.path, data, { mode: MODE })
      } catch (thrown) {
        await truncate(this.path, this.#size).catch(() => undefined) // where there is no file any more, nothing was written either
        throw thrown
      }
      this.#size += data.length
      for (const record of records) this.#position.add(record)
    })
  }

  /** Moves the file to `path.N` (N counts from 1, across crashes) and begins a new one; answers the moved file's path. */
  rotate(): Promise<string> {
    return this.#inTurn(async () => {
      const moved = `${this.path}.${this.#rotated + 1}`
      renameSync(this.path, moved)
      this.#rotated += 1
      writeCursor(this.#cursorPath, { rotated: this.#rotated, position: this.#position.toPlain() })
      begin(this.path)
      this.#size = 0
      return moved
    })
  }

  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const turn = this.#last.then(work)
    this.#last = turn.catch(() => undefined)
    return turn
  }
}

/** What a file and its cursor say of an earlier process's work. */
interface Found {
  position: LogPosition
  rotated: number
  size: number
}

function begin(path: string): void {
  closeSync(openSync(path, 'a', MODE))
}

function readCursor(path: string): Cursor | undefined {
  return existsSync(path) ? (JSON.parse(readFileSync(path, 'utf8')) as Cursor) : undefined
}

function writeCursor(path: string, cursor: Cursor): void {
  writeFileAtomic(path, JSON.stringify(cursor))
}

/** Counts the whole lines of the file into the position, cuts off a torn last one, and answers the size that remains. */
async function countRecords(path: string, position: LogPosition): Promise<number> {
  let rest = ''
  let size = 0
  for await (const chunk of createReadStream(path, { encoding: 'latin1', highWaterMark: 256 * 1024 })) {
    const lines = (rest + (chunk as string)).split('\n')
    rest = lines.pop() ?? ''
    for (const line of lines) {
      size += line.length + 1
      const [, time = '', stream, mark] = RECORD_HEAD.exec(line) ?? []
      if (stream === 'stdout' || stream === 'stderr') position.add({ time, stream, whole: mark === 'F' })
    }
  }
  if (rest !== '') truncateSync(path, size)
  return size
}
