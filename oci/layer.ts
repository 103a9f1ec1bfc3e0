import { randomBytes } from 'node:crypto'
import {
  closeSync,
  constants,
  createReadStream,
  createWriteStream,
  fstatSync,
  openSync,
  readSync,
  type WriteStream,
} from 'node:fs'
import { rename, rm } from 'node:fs/promises'
import type { Writable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { createGzip } from 'node:zlib'
import { type Pack, pack, type Header as TarHeader } from 'tar-stream'

import { AppError, messageOf } from '../common/index.ts'
import type { Digest } from './digest.ts'
import { arrangeEntries, FIXED_TIME_S, type FileContent, type LayerEntry } from './layer-entries.ts'
import { Batcher, Meter, SameGzipHeader } from './layer-streams.ts'
import { type Descriptor, MEDIA } from './manifest.ts'

export interface LayerOptions {
  /** Time of every entry, s since 1970. Default `FIXED_TIME_S`. */
  timeS?: number
  /** gzip level, 1 to 9. Default 6. */
  level?: number
  signal?: AbortSignal
}

export interface WrittenLayer {
  descriptor: Descriptor
  /** Digest of the uncompressed tar: what the configuration lists. */
  diffId: Digest
  uncompressedBytes: number
}

/** Larger files are streamed; smaller ones are read at once, without the four trips to the thread pool that each costs. */
const READ_AT_ONCE_BYTES = 1024 * 1024

async function closed(file: WriteStream): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>()
  if (file.closed) return
  file.once('close', () => resolve())
  file.destroy()
  await promise
}

/** As `writeLayer`, into a file that is there whole (and on disk) or not at all. */
export async function writeLayerFile(
  entries: readonly LayerEntry[],
  path: string,
  options: LayerOptions = {},
): Promise<WrittenLayer> {
  const temporary = `${path}.${randomBytes(6).toString('hex')}.tmp`
  const file = createWriteStream(temporary, { flags: 'wx', mode: 0o600, flush: true })
  try {
    const written = await writeLayer(entries, file, options)
    await rename(temporary, path)
    return written
  } catch (thrown) {
    await closed(file)
    await rm(temporary, { force: true })
    throw thrown
  }
}

/**
 * Writes a layer (tar, gzip) into `destination` and ends it. Equal entries give equal bytes: order and paths are those of
 * `arrangeEntries`, every entry has one time, owners are numbers without names, and the gzip header has no time and one system.
 * The diff id depends on the entries alone; the compressed digest also on the zlib of this version of Node.
 * Directories above an entry are not added: what the base image has there (perhaps a symbolic link) stays as it is.
 * Throws `layer-entry-invalid`, or `source-changed` for a file that cannot be read as it was listed.
 */
export async function writeLayer(
  entries: readonly LayerEntry[],
  destination: Writable,
  options: LayerOptions = {},
): Promise<WrittenLayer> {
  const { timeS = FIXED_TIME_S, level = 6, signal } = options
  const arranged = arrangeEntries(entries)
  const tar = pack()
  const plain = new Meter()
  const compressed = new Meter()
  const gzip = createGzip({ level, chunkSize: 65_536 })
  const through = [new Batcher(), plain, gzip, new SameGzipHeader(), compressed] as const
  const flow = pipeline(tar, ...through, destination, signal === undefined ? {} : { signal })
  const fill = fillTar(tar, arranged, new Date(timeS * 1000)).catch((thrown: unknown) => {
    tar.destroy()
    throw thrown
  })
  const [flowed, filled] = await Promise.allSettled([flow, fill])
  signal?.throwIfAborted()
  // A source that fails ends the flow early; a destination that fails ends the filling: the cause is the other one's error.
  if (filled.status === 'rejected' && filled.reason instanceof AppError) throw filled.reason
  if (flowed.status === 'rejected') throw flowed.reason
  if (filled.status === 'rejected') throw filled.reason
  return {
    descriptor: { mediaType: MEDIA.ociLayerGzip, digest: compressed.digest(), size: compressed.bytes },
    diffId: plain.digest(),
    uncompressedBytes: plain.bytes,
  }
}

async function fillTar(tar: Pack, entries: readonly LayerEntry[], mtime: Date): Promise<void> {
  for (const entry of entries) await addEntry(tar, entry, mtime)
  tar.finalize()
}

async function addEntry(tar: Pack, entry: LayerEntry, mtime: Date): Promise<void> {
  const common = { uid: entry.uid ?? 0, gid: entry.gid ?? 0, mtime }
  switch (entry.kind) {
    case 'directory':
      return addBytes(tar, { ...common, name: `${entry.path}/`, type: 'directory', mode: entry.mode ?? 0o755 })
    case 'symlink':
      return addBytes(tar, { ...common, name: entry.path, type: 'symlink', mode: 0o777, linkname: entry.target })
    case 'hardlink':
      return addBytes(tar, { ...common, name: entry.path, type: 'link', mode: 0o644, linkname: entry.target })
    case 'file': {
      const header: Header = { ...common, name: entry.path, type: 'file', mode: entry.mode ?? 0o644 }
      if (entry.content instanceof Uint8Array) return addBytes(tar, header, Buffer.from(entry.content))
      return addFile(tar, header, entry.content)
    }
    default:
      return entry satisfies never
  }
}

type Header = Partial<TarHeader> & Pick<TarHeader, 'name'>

/** Resolves when the entry has left the queue of `tar`, so that a slow reader holds the writer. */
function addBytes(tar: Pack, header: Header, bytes: Buffer = Buffer.alloc(0)): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>()
  const sink = tar.entry(header, bytes, (failure) => (failure == null ? resolve() : reject(failure)))
  sink.on('error', reject)
  return promise
}

async function addFile(tar: Pack, header: Header, { file: path, check }: FileContent): Promise<void> {
  const fd = openRegularFile(path)
  try {
    check?.(fd)
    await addOpenFile(tar, header, path, fd)
    check?.(fd)
  } finally {
    closeSync(fd)
  }
}

async function addOpenFile(tar: Pack, header: Header, path: string, fd: number): Promise<void> {
  const { size } = fstatSync(fd)
  if (size <= READ_AT_ONCE_BYTES) return addBytes(tar, header, readWhole(fd, size, path))
  const sink = tar.entry({ ...header, size })
  await pipeline(createReadStream(path, { fd, autoClose: false, start: 0, end: size - 1 }), sink).catch(
    (thrown: unknown) => {
      if (messageOf(thrown) === 'Size mismatch') throw changed(path, 'it became shorter while it was read')
      throw thrown
    },
  )
}

function openRegularFile(path: string): number {
  try {
    // Not blocked by a FIFO, not led on by a symbolic link.
    const fd = openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK)
    if (fstatSync(fd).isFile()) return fd
    closeSync(fd)
  } catch (cause) {
    throw changed(path, messageOf(cause), cause)
  }
  throw changed(path, 'it is no regular file')
}

function readWhole(fd: number, size: number, path: string): Buffer {
  const bytes = Buffer.allocUnsafe(size)
  for (let offset = 0; offset < size; ) {
    const count = readSync(fd, bytes, offset, size - offset, offset)
    if (count === 0) throw changed(path, 'it became shorter while it was read')
    offset += count
  }
  return bytes
}

function changed(path: string, why: string, cause?: unknown): AppError {
  return new AppError(`${path} cannot be put into a layer: ${why}`, {
    code: 'source-changed',
    fault: 'user',
    hint: 'build again when nothing changes the source',
    cause,
  })
}
