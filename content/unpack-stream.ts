import { createHash, type Hash } from 'node:crypto'
import type { Transform } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { constants, createGunzip, createZstdDecompress } from 'node:zlib'
import { AppError, messageOf, toAppError } from '../common/index.ts'
import type { Descriptor, Digest } from '../oci/index.ts'
import { refuse, toByteString } from './tar-entry.ts'
import { TarParser } from './tar-parser.ts'
import { UnpackBudget, type UnpackLimits } from './unpack-budget.ts'
import type { LayerNotes } from './unpack-finish.ts'
import { LayerWriter } from './unpack-layer.ts'
import { LayerTree } from './unpack-tree.ts'

export interface LayerBlob {
  descriptor: Descriptor
  /** Of the uncompressed tar, from the image's configuration. */
  diffId: Digest
}

export interface UnpackedLayer {
  notes: LayerNotes
  entries: number
  /** Bytes on disk, roughly: data without holes, and what an entry costs. */
  sizeBytes: number
  /** Time that this process spent with the layer's content, waiting for the network left out. */
  unpackMs: number
}

/** Measured: with 64 KiB a whole image took a quarter longer. */
const CHUNK_BYTES = 1024 * 1024
/** Measured on two cores: 600 MB in 2.1 s, with the 64 KiB that a socket gives at a time in 2.8 s. */
const INPUT_BYTES = 512 * 1024
/** Room for decompressed chunks that wait: without it the thread that inflates stands still while files are written (measured: half as fast). */
const QUEUE_BYTES = 4 * 1024 * 1024
/** 128 MB, the most that zstd's own program accepts without being asked to. */
const MAX_WINDOW_LOG = 27

/**
 * Unpacks a layer while it arrives, into `directory`, which exists, is empty and is nobody else's. The bytes are hashed before they are decompressed and
 * again before they are read as a tar; the caller makes the directory visible only after this returned, that is
 * after size, digest and diff id were found right. A failure leaves a directory to be thrown away.
 * Throws `digest-mismatch`, `image-invalid`, `disk-full`, `unpack-failed`, `unpack-not-permitted`.
 */
export async function unpackLayer(
  blob: AsyncIterable<Uint8Array>,
  layer: LayerBlob,
  directory: string,
  limits: UnpackLimits,
  signal: AbortSignal,
): Promise<UnpackedLayer> {
  const budget = new UnpackBudget(directory, limits)
  const writer = new LayerWriter(new LayerTree(toByteString(directory)), budget)
  const parser = new TarParser(writer)
  const source = new VerifiedSource(blob, layer.descriptor)
  const tarHash = createHash('sha256')
  let unpackMs = 0
  try {
    await decompress(source, signal, (chunk) => {
      const startedMs = performance.now()
      tarHash.update(chunk)
      parser.write(chunk)
      unpackMs += performance.now() - startedMs
    })
    source.verify()
    parser.finish()
    verify(tarHash, layer.diffId, 'uncompressed layer')
    const startedMs = performance.now()
    const notes = writer.finish()
    unpackMs += performance.now() - startedMs
    return { notes, entries: budget.entries, sizeBytes: budget.writtenBytes, unpackMs }
  } catch (thrown) {
    writer.abandon()
    throw await source.explain(thrown, signal)
  }
}

async function decompress(source: VerifiedSource, signal: AbortSignal, take: (chunk: Buffer) => void): Promise<void> {
  const transform = decompressorFor(await source.peek())
  const consume = async (chunks: AsyncIterable<Buffer>): Promise<void> => {
    for await (const chunk of chunks) take(chunk)
  }
  if (transform === undefined) await pipeline(() => source.chunks(), consume, { signal })
  else await pipeline(() => source.chunks(), transform, consume, { signal })
}

/** The first bytes decide, as in other clients: the digest covers them, and media types in the wild say gzip of what is none. */
function decompressorFor(start: Buffer): Transform | undefined {
  const sizes = { chunkSize: CHUNK_BYTES, highWaterMark: QUEUE_BYTES }
  if (start[0] === 0x1f && start[1] === 0x8b) return createGunzip(sizes)
  const magic = start.length < 4 ? 0 : start.readUInt32LE(0)
  const isZstd = magic === 0xfd2fb528 || (magic & 0xfffffff0) >>> 0 === 0x184d2a50
  if (isZstd) return createZstdDecompress({ ...sizes, params: { [constants.ZSTD_d_windowLogMax]: MAX_WINDOW_LOG } })
  return undefined
}

/** The blob as it arrives, hashed and counted; more bytes than declared end it at once. */
class VerifiedSource {
  readonly #chunks: AsyncIterator<Uint8Array>
  readonly #descriptor: Descriptor
  readonly #hash = createHash('sha256')
  #bytes = 0
  #first: Buffer | undefined

  constructor(blob: AsyncIterable<Uint8Array>, descriptor: Descriptor) {
    this.#chunks = blob[Symbol.asyncIterator]()
    this.#descriptor = descriptor
  }

  /** The first bytes, at least four where there are as many. */
  async peek(): Promise<Buffer> {
    let start = Buffer.alloc(0)
    while (start.length < 4) {
      const chunk = await this.#next()
      if (chunk === undefined) break
      start = Buffer.concat([start, chunk])
    }
    this.#first = start
    return start
  }

  /** In pieces of half a megabyte: handing one to the thread that inflates costs 0.2 ms where waking a core is dear, as in a virtual machine. */
  async *chunks(): AsyncGenerator<Buffer> {
    let waiting = this.#first === undefined ? [] : [this.#first]
    let bytes = this.#first?.length ?? 0
    for (let chunk = await this.#next(); chunk !== undefined; chunk = await this.#next()) {
      waiting.push(chunk)
      bytes += chunk.length
      if (bytes < INPUT_BYTES) continue
      yield Buffer.concat(waiting)
      waiting = []
      bytes = 0
    }
    if (bytes > 0) yield Buffer.concat(waiting)
  }

  async #next(): Promise<Buffer | undefined> {
    const { value, done } = await this.#chunks.next()
    if (done === true) return undefined
    const chunk = Buffer.from(value.buffer, value.byteOffset, value.byteLength)
    this.#bytes += chunk.length
    if (this.#bytes > this.#descriptor.size) throw this.#mismatch(`more than ${this.#descriptor.size} bytes`)
    this.#hash.update(chunk)
    return chunk
  }

  verify(): void {
    if (this.#bytes !== this.#descriptor.size) throw this.#mismatch(`${this.#bytes} bytes`)
    verify(this.#hash, this.#descriptor.digest, 'layer')
  }

  /** Content that cannot be read is either not what was asked for or a bad layer: the rest of the bytes tells which. */
  async explain(thrown: unknown, signal: AbortSignal): Promise<unknown> {
    if (signal.aborted) return this.#end(signal.reason)
    const error = isZlibError(thrown) ? refuse(`its compressed data is damaged (${messageOf(thrown)})`) : thrown
    if (toAppError(error).code !== 'image-invalid') return this.#end(error)
    try {
      while ((await this.#next()) !== undefined) signal.throwIfAborted()
      this.verify()
      return this.#end(error)
    } catch (other) {
      return this.#end(other)
    }
  }

  async #end(error: unknown): Promise<unknown> {
    await this.#chunks.return?.()
    return error
  }

  #mismatch(found: string): AppError {
    const { digest, size } = this.#descriptor
    return mismatch('layer', digest, `${found} instead of ${size}`)
  }
}

function isZlibError(thrown: unknown): boolean {
  const code = thrown instanceof Error && 'code' in thrown ? String(thrown.code) : ''
  return code.startsWith('Z_') || code.startsWith('ZSTD_') || code === 'ERR_TRAILING_JUNK_AFTER_STREAM_END'
}

function verify(hash: Hash, expected: Digest, what: string): void {
  const found = `sha256:${hash.digest('hex')}`
  if (found !== expected) throw mismatch(what, expected, found)
}

export function mismatch(what: string, expected: Digest, found: string): AppError {
  return new AppError(`${what} ${expected} is not what the registry sent: ${found}`, {
    code: 'digest-mismatch',
    fault: 'dependency',
    hint: 'the registry or something before it changed the bytes; push the image again',
    details: { expected },
  })
}
