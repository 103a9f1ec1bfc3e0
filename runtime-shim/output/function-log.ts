import { constants } from 'node:fs'
import { type FileHandle, mkdir, open, readdir, stat, unlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { AppError, errnoOf } from '../../common/index.ts'
import { checkpointBatch, checkpointContent, readHead } from './batch.ts'
import type { Positions } from './parse.ts'
import { type Block, encodeIndex, readIndex, SegmentIndex, type Summary, summarise } from './segment-index.ts'
import { scanBatches, writeFully } from './segment-scan.ts'

export interface LogLimits {
  /** A segment is sealed before it grows beyond this. Default 16 MB. */
  segmentBytes: number
  /** All segments of a function together; the oldest are unlinked. Default 256 MB. */
  functionBytes: number
  /** Lines older than this are unlinked, a segment at a time. Default 7 days. */
  ageMs: number
}

export const DEFAULT_LIMITS: LogLimits = {
  segmentBytes: 16 * 1024 * 1024,
  functionBytes: 256 * 1024 * 1024,
  ageMs: 7 * 86_400_000,
}

/** Lines that were unlinked before their age, because the function's limit of bytes was reached. */
export interface Removed {
  records: number
  bytes: number
  /** Time of the newest of them, microseconds. */
  upToUs: number
}

/** What a reader sees of a segment. */
export interface SegmentView {
  sequence: number
  path: string
  blocks: readonly Block[]
}

interface Sealed extends Summary {
  sequence: number
  bytes: number
}

interface Active {
  sequence: number
  file: FileHandle
  end: number
  index: SegmentIndex
}

interface Known {
  positions: Positions
  /** When the instance last had output stored; after a restart, when it was found again. */
  storedMs: number
}

/** The first batch of each segment: what is known of every instance, so that older segments may be unlinked and only the last one is read at start. */
interface Checkpoint {
  instances: { id: string; positions: Positions; storedMs: number }[]
  removed: Removed
}

/**
 * The stored lines of one function: append-only segments `NNNNNNNNNN.seg`, each sealed one with an index `.idx` beside it.
 * Exactly one in one process writes them; readers may read up to what `segments` tells while it does.
 */
export class FunctionLog {
  readonly directory: string
  readonly #limits: LogLimits
  readonly #positions = new Map<string, Known>()
  readonly #attached = new Set<string>()
  #sealed: Sealed[] = []
  #active: Active | undefined
  #removed: Removed = { records: 0, bytes: 0, upToUs: 0 }
  #work: Promise<unknown> = Promise.resolve()
  readonly #listeners = new Set<() => void>()

  private constructor(directory: string, limits: LogLimits) {
    this.directory = directory
    this.#limits = limits
  }

  /** Reads what an earlier process left: the last segment is cut after its last whole batch. Makes no file; the directory may be absent. */
  static async open(directory: string, limits: Partial<LogLimits> = {}): Promise<FunctionLog> {
    const log = new FunctionLog(directory, { ...DEFAULT_LIMITS, ...limits })
    await log.#recover()
    return log
  }

  get removed(): Removed {
    return this.#removed
  }

  /** Whether some instance is being copied here. */
  get isAttached(): boolean {
    return this.#attached.size > 0
  }

  /** Up to where the output of an instance is stored; undefined when nothing is. */
  attach(instance: string): Positions | undefined {
    this.#attached.add(instance)
    return this.#positions.get(instance)?.positions
  }

  /** The instance and its output files are gone: its place need not be known any more. */
  release(instance: string): void {
    this.#attached.delete(instance)
    this.#positions.delete(instance)
  }

  /** Stores a batch, whole or not at all. Throws `log-write-failed`; the same batch may then be given again. */
  append(batch: Buffer): Promise<void> {
    return this.#exclusive(async () => {
      const head = readHead(batch, 0)
      if (head === undefined) throw new AppError('not a batch of log lines', { code: 'internal' })
      try {
        const isFull = this.#active !== undefined && this.#active.end + batch.length > this.#limits.segmentBytes
        const active = this.#active === undefined || isFull ? await this.#roll() : this.#active
        await this.#write(active, batch)
      } catch (thrown) {
        throw new AppError(`cannot store log lines in ${this.directory}: ${errnoOf(thrown) ?? String(thrown)}`, {
          code: 'log-write-failed',
          retryable: true,
          hint: 'free space on the disk of the data directory; the lines wait where they are until then',
          cause: thrown,
        })
      }
      this.#positions.set(head.instance, { positions: head.positions, storedMs: Date.now() })
      for (const listener of this.#listeners) listener()
    })
  }

  /** Segments from the oldest to the newest, as they are now; those before `fromSequence`, or with older lines only, may be left out. */
  async segments(fromSequence = 0, fromUs = Number.NEGATIVE_INFINITY): Promise<SegmentView[]> {
    const views: SegmentView[] = []
    const wanted = this.#sealed.filter((sealed) => sealed.sequence >= fromSequence && sealed.maxUs >= fromUs)
    for (const { sequence, bytes } of wanted) {
      const blocks = (await readIndex(this.#path(sequence, 'idx'))) ?? (await this.#indexOf(sequence, bytes))
      views.push({ sequence, path: this.#path(sequence, 'seg'), blocks })
    }
    const active = this.#active
    if (active !== undefined && !views.some((view) => view.sequence === active.sequence)) {
      const blocks = active.index.blocks.map((block) => ({ ...block }))
      views.push({ sequence: active.sequence, path: this.#path(active.sequence, 'seg'), blocks })
    }
    return views
  }

  /** Tells of each append; answers how to stop listening. */
  listen(listener: () => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  /** Unlinks segments whose newest line is older than the age limit. */
  sweep(nowMs: number): Promise<void> {
    return this.#exclusive(async () => {
      const oldestUs = (nowMs - this.#limits.ageMs) * 1000
      const active = this.#active
      const newest = active === undefined ? undefined : summarise(active.index.blocks)
      if (newest !== undefined && newest.records > 0 && newest.maxUs < oldestUs) await this.#roll()
      while (this.#sealed[0] !== undefined && this.#sealed[0].maxUs < oldestUs) await this.#unlinkOldest()
    })
  }

  close(): Promise<void> {
    return this.#exclusive(async () => {
      await this.#active?.file.close()
      this.#active = undefined
    })
  }

  #exclusive<T>(work: () => Promise<T>): Promise<T> {
    const done = this.#work.then(work)
    this.#work = done.catch(() => undefined)
    return done
  }

  #path(sequence: number, suffix: 'seg' | 'idx'): string {
    return join(this.directory, `${String(sequence).padStart(10, '0')}.${suffix}`)
  }

  async #write(active: Active, batch: Buffer): Promise<void> {
    const head = readHead(batch, 0)
    if (head === undefined) return
    try {
      await writeFully(active.file, batch, active.end)
    } catch (thrown) {
      // what was written of it must not stay: text of a function could look like a batch
      await active.file.truncate(active.end).catch(() => undefined)
      throw thrown
    }
    active.index.add(head, active.end)
    active.end += batch.length
  }

  /** Begins the next segment with a checkpoint; only then is the old one sealed and the oldest unlinked. */
  async #roll(): Promise<Active> {
    await mkdir(this.directory, { recursive: true, mode: 0o700 })
    const old = this.#active
    const sequence = (old?.sequence ?? this.#sealed.at(-1)?.sequence ?? 0) + 1
    const oldBytes = old?.end ?? 0
    const excess = this.#excess(oldBytes)
    const removed = excess.reduce(addRemoved, this.#removed)
    const flags = constants.O_RDWR | constants.O_CREAT | constants.O_TRUNC
    const file = await open(this.#path(sequence, 'seg'), flags, 0o600)
    const next: Active = { sequence, file, end: 0, index: new SegmentIndex() }
    try {
      await this.#write(next, checkpointBatch({ instances: this.#carried(), removed } satisfies Checkpoint))
    } catch (thrown) {
      await file.close()
      await unlink(this.#path(sequence, 'seg')).catch(() => undefined)
      throw thrown
    }
    this.#active = next
    this.#removed = removed
    if (old !== undefined) await this.#seal(old)
    for (const { sequence: gone } of excess) {
      while (this.#sealed[0] !== undefined && this.#sealed[0].sequence <= gone) await this.#unlinkOldest()
    }
    return next
  }

  async #seal(old: Active): Promise<void> {
    this.#sealed.push({ sequence: old.sequence, bytes: old.end, ...summarise(old.index.blocks) })
    // an index that cannot be written is made again from the segment when it is needed
    await writeFile(this.#path(old.sequence, 'idx'), encodeIndex(old.index.blocks), { mode: 0o600 }).catch(
      () => undefined,
    )
    await old.file.close()
  }

  /** The oldest segments that have to go so that the rest and one full new segment fit into the function's limit. */
  #excess(activeBytes: number): Sealed[] {
    let total = this.#limits.segmentBytes + activeBytes + this.#sealed.reduce((sum, { bytes }) => sum + bytes, 0)
    return this.#sealed.filter(({ bytes }) => {
      if (total <= this.#limits.functionBytes) return false
      total -= bytes
      return true
    })
  }

  async #unlinkOldest(): Promise<void> {
    const oldest = this.#sealed.shift()
    if (oldest === undefined) return
    for (const suffix of ['seg', 'idx'] as const) {
      await unlink(this.#path(oldest.sequence, suffix)).catch((thrown: unknown) => {
        if (errnoOf(thrown) !== 'ENOENT') throw thrown
      })
    }
  }

  /** Instances whose output may still be somewhere: those being copied, and those heard of within the age limit. */
  #carried(): Checkpoint['instances'] {
    const oldestMs = Date.now() - this.#limits.ageMs
    return [...this.#positions]
      .filter(([id, { storedMs }]) => this.#attached.has(id) || storedMs >= oldestMs)
      .map(([id, known]) => ({ id, ...known }))
  }

  async #recover(): Promise<void> {
    const names = await readdir(this.directory).catch((thrown: unknown) => {
      if (errnoOf(thrown) === 'ENOENT') return []
      throw thrown
    })
    const sequences = names.flatMap((name) => (/^\d{10}\.seg$/.test(name) ? [Number(name.slice(0, 10))] : []))
    sequences.sort((a, b) => a - b)
    while (this.#active === undefined) {
      const last = sequences.pop()
      if (last === undefined) return
      this.#active = await this.#reopen(last)
    }
    for (const sequence of sequences) {
      const bytes = (await stat(this.#path(sequence, 'seg'))).size
      const blocks = (await readIndex(this.#path(sequence, 'idx'))) ?? (await this.#indexOf(sequence, bytes))
      this.#sealed.push({ sequence, bytes, ...summarise(blocks) })
    }
  }

  /** Opens the last segment for writing. Undefined, and removed, when not even its checkpoint was written: the one before holds everything. */
  async #reopen(sequence: number): Promise<Active | undefined> {
    const path = this.#path(sequence, 'seg')
    const file = await open(path, 'r+')
    const index = new SegmentIndex()
    let end = 0
    for await (const { head, bytes, at, offset } of scanBatches(file, 0, (await file.stat()).size)) {
      if (head.kind === 'checkpoint') this.#restore(checkpointContent(bytes, at, head) as Checkpoint)
      else if (offset === 0) break
      else this.#positions.set(head.instance, { positions: head.positions, storedMs: Date.now() })
      index.add(head, offset)
      end = offset + head.bytes
    }
    if (end === 0) {
      await file.close()
      await unlink(path)
      return undefined
    }
    await file.truncate(end)
    return { sequence, file, end, index }
  }

  #restore({ instances, removed }: Checkpoint): void {
    for (const { id, positions, storedMs } of instances) this.#positions.set(id, { positions, storedMs })
    this.#removed = removed
  }

  async #indexOf(sequence: number, bytes: number): Promise<Block[]> {
    const index = new SegmentIndex()
    const file = await open(this.#path(sequence, 'seg'), 'r').catch(() => undefined)
    if (file === undefined) return []
    try {
      for await (const { head, offset } of scanBatches(file, 0, bytes)) index.add(head, offset)
    } finally {
      await file.close()
    }
    return index.blocks
  }
}

function addRemoved(removed: Removed, { records, bytes, maxUs }: Sealed): Removed {
  return { records: removed.records + records, bytes: removed.bytes + bytes, upToUs: Math.max(removed.upToUs, maxUs) }
}
