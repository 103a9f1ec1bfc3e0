import { Readable } from 'node:stream'
import { setTimeout as sleep } from 'node:timers/promises'
import { AppError } from '../common/index.ts'
import { type Digest, digestOf } from './digest.ts'
import { readBody } from './http-body.ts'
import type { Descriptor } from './manifest.ts'
import { unreachableError } from './registry-retry.ts'
import { headerText, type RegistryResponse, type Transport } from './transport.ts'

/** Cuts in a row, without at least this many bytes between them, after which a download is given up. */
const MAX_BARREN_CUTS = 5
const PROGRESS_BYTES = 262_144

/**
 * The bytes of a blob from `fromOffset` to its end, exactly as many as the descriptor says: a connection that is cut is
 * resumed where it stopped, with backoff. The digest is the reader's to check, since only the reader sees all bytes.
 */
export function blobStream(transport: Transport, repository: string, blob: Descriptor, fromOffset: number): Readable {
  return Readable.from(blobChunks(transport, repository, blob, fromOffset), {
    objectMode: false,
    highWaterMark: 1024 * 1024,
  })
}

async function* blobChunks(
  transport: Transport,
  repository: string,
  blob: Descriptor,
  fromOffset: number,
): AsyncGenerator<Buffer> {
  const what = `pull of blob ${blob.digest} from ${repository}`
  let offset = fromOffset
  let barrenCuts = 0
  while (offset < blob.size) {
    const startOffset = offset
    const response = await requestBlob(transport, repository, blob, offset, what)
    try {
      for await (const chunk of restOf(response, offset)) {
        offset += chunk.length
        if (offset > blob.size) throw longerThanSaid(what, blob)
        yield chunk
      }
      if (offset === blob.size) return
      throw new Error(`the connection ended ${blob.size - offset} bytes early`)
    } catch (thrown) {
      transport.signal?.throwIfAborted()
      const error = unreachableError(transport.registry, what, thrown)
      barrenCuts = offset - startOffset >= PROGRESS_BYTES ? 0 : barrenCuts + 1
      if (!error.retryable || barrenCuts >= MAX_BARREN_CUTS) throw error
    }
    await pause(Math.random() * 100 * 2 ** barrenCuts, transport.signal)
  }
}

/** Ends with the reason of the signal, not with the error of the timer. */
async function pause(waitMs: number, signal: AbortSignal | undefined): Promise<void> {
  await sleep(waitMs, undefined, signal === undefined ? {} : { signal }).catch(() => signal?.throwIfAborted())
}

/** Never asks beyond the blob's end: docker-registry 2.8 answers that with a length it does not keep (facts registry-auth 3.2). */
async function requestBlob(
  transport: Transport,
  repository: string,
  blob: Descriptor,
  offset: number,
  what: string,
): Promise<RegistryResponse> {
  const response = await transport.open({
    method: 'GET',
    url: `/v2/${repository}/blobs/${blob.digest}`,
    scopes: [`repository:${repository}:pull`],
    headers: offset === 0 ? {} : { range: `bytes=${offset}-${blob.size - 1}` },
    what,
    accept: [200, 206],
  })
  const wrong = wrongLength(response, blob, offset)
  if (wrong === undefined) return response
  response.body.on('error', () => undefined) // its end by us is no error of anybody
  response.body.destroy()
  throw new AppError(`${what} failed: ${transport.registry} ${wrong}`, {
    code: 'digest-mismatch',
    fault: 'dependency',
    hint: 'the registry holds other bytes than the manifest names: push the image again',
  })
}

function wrongLength({ statusCode, headers }: RegistryResponse, blob: Descriptor, offset: number): string | undefined {
  if (statusCode === 200) {
    const length = headerText(headers['content-length'])
    const fits = length === '' || Number(length) === blob.size
    return fits ? undefined : `offers ${length} bytes where the manifest says ${blob.size}`
  }
  const range = headerText(headers['content-range'])
  const fits =
    range === `bytes ${offset}-${blob.size - 1}/${blob.size}` || range === `bytes ${offset}-${blob.size - 1}/*`
  return fits ? undefined : `answered with the range "${range.slice(0, 100)}" of ${blob.size} bytes from ${offset}`
}

/** What follows `offset`: a registry that ignores ranges sends everything, of which the beginning is skipped. */
async function* restOf(response: RegistryResponse, offset: number): AsyncGenerator<Buffer> {
  let skip = response.statusCode === 206 ? 0 : offset
  for await (const chunk of response.body as AsyncIterable<Buffer>) {
    const rest = chunk.subarray(skip)
    skip -= chunk.length - rest.length
    if (rest.length > 0) yield rest
  }
}

/** A small blob (a configuration) whole, checked by size and digest. */
export async function readVerifiedBlob(
  transport: Transport,
  repository: string,
  blob: Descriptor,
  maxBytes: number,
): Promise<Buffer> {
  const what = `pull of blob ${blob.digest} from ${repository}`
  if (blob.size > maxBytes) {
    throw new AppError(`${what} refused: it has ${blob.size} bytes, at most ${maxBytes} are read`, {
      code: 'image-unsupported',
      fault: 'user',
      hint: 'the image has an unusually large manifest or configuration',
    })
  }
  const bytes = await readBody(blobStream(transport, repository, blob, 0), maxBytes, what)
  checkDigest(bytes, blob.digest, what)
  return bytes
}

/** Throws `digest-mismatch` unless the bytes are those of the digest. */
export function checkDigest(bytes: Uint8Array, expected: Digest, what: string): void {
  const actual = digestOf(bytes)
  if (actual === expected) return
  throw new AppError(`${what} failed: the bytes have digest ${actual}, expected ${expected}`, {
    code: 'digest-mismatch',
    fault: 'dependency',
    hint: 'the content was changed on its way or in the registry: try again, then push the image again',
    details: { expected, actual },
  })
}

function longerThanSaid(what: string, blob: Descriptor): AppError {
  return new AppError(`${what} failed: it is longer than the ${blob.size} bytes that the manifest says`, {
    code: 'digest-mismatch',
    fault: 'dependency',
    hint: 'the registry holds other bytes than the manifest names: push the image again',
  })
}
