import { PassThrough, type Readable } from 'node:stream'
import { AppError } from '../common/index.ts'

/** Reads a body whole, at most `maxBytes` of it. Throws `registry-error` when it is longer. */
export async function readBody(body: Readable, maxBytes: number, what: string): Promise<Buffer> {
  const chunks: Buffer[] = []
  let length = 0
  for await (const chunk of body as AsyncIterable<Buffer>) {
    length += chunk.length
    if (length > maxBytes) {
      throw new AppError(`${what} failed: the answer is longer than ${maxBytes} bytes`, {
        code: 'registry-error',
        fault: 'dependency',
      })
    }
    chunks.push(chunk)
  }
  return Buffer.concat(chunks)
}

const BEGINNING_BYTES = 16_384

/** The beginning of an error's body: never throws, never reads on. */
export async function readBeginning(body: Readable): Promise<string> {
  const chunks: Buffer[] = []
  let length = 0
  try {
    for await (const chunk of body as AsyncIterable<Buffer>) {
      chunks.push(chunk)
      length += chunk.length
      if (length >= BEGINNING_BYTES) break
    }
  } catch {
    // the status has been read; a body cut short only makes the message shorter
  }
  return Buffer.concat(chunks).subarray(0, BEGINNING_BYTES).toString('utf8')
}

/** The failure of what was to be sent, told apart from failures of the connection that it was sent on. */
export class SourceError extends Error {
  constructor(cause: unknown) {
    super('the source of an upload failed', { cause })
  }
}

/** A body for a request whose own failures arrive as `SourceError`; the source ends with the body. */
export function uploadBody(source: Readable): Readable {
  const body = new PassThrough()
  source.on('error', (failure) => body.destroy(new SourceError(failure)))
  body.once('close', () => source.destroy())
  return source.pipe(body)
}
