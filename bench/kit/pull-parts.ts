import { createHash } from 'node:crypto'
import { readdirSync, readFileSync } from 'node:fs'
import { request } from 'node:http'
import { join } from 'node:path'
import { gunzipSync } from 'node:zlib'

/** Milliseconds that each part of a pull takes by itself. */
export interface PullParts {
  fetch: number
  hash: number
  gunzip: number
}

/** One after another: all `urls` fetched, then the `*.gz` of `directory` inflated, then both hashed. Meant for a process that is held on one core. */
export async function measureParts(directory: string, urls: readonly string[]): Promise<PullParts> {
  const blobs = readdirSync(directory)
    .filter((name) => name.endsWith('.gz'))
    .map((name) => readFileSync(join(directory, name)))
  const tars: Buffer[] = []
  return {
    fetch: await timed(async () => {
      for (const url of urls) await fetch(url)
    }),
    gunzip: await timed(() => {
      for (const blob of blobs) tars.push(gunzipSync(blob, { chunkSize: 1024 * 1024 }))
    }),
    hash: await timed(() => {
      for (const bytes of [...blobs, ...tars]) createHash('sha256').update(bytes).digest()
    }),
  }
}

async function fetch(url: string): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>()
  request(url, (response) =>
    response
      .on('data', () => undefined)
      .on('end', resolve)
      .on('error', reject),
  )
    .on('error', reject)
    .end()
  await promise
}

async function timed(work: () => unknown): Promise<number> {
  const startedMs = performance.now()
  await work()
  return performance.now() - startedMs
}
