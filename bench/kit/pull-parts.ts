import { createHash } from 'node:crypto'
import { readdirSync, readFileSync } from 'node:fs'
import { request } from 'node:http'
import { join } from 'node:path'
import { gunzipSync } from 'node:zlib'

// What a pull is made of, each part by itself, on one core: run as `taskset -c 0 node pull-parts.ts DIRECTORY URL…` where the directory holds
// `*.gz`, one for each layer. Prints {"fetch","hash","gunzip"} in milliseconds; writing is measured by tar.

const [directory = '', ...urls] = process.argv.slice(2)
const blobs = readdirSync(directory)
  .filter((name) => name.endsWith('.gz'))
  .map((name) => readFileSync(join(directory, name)))

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

const fetchMs = await timed(async () => {
  for (const url of urls) await fetch(url)
})
const tars: Buffer[] = []
const gunzipMs = await timed(() => {
  for (const blob of blobs) tars.push(gunzipSync(blob, { chunkSize: 1024 * 1024 }))
})
const hashMs = await timed(() => {
  for (const bytes of [...blobs, ...tars]) createHash('sha256').update(bytes).digest()
})
console.log(JSON.stringify({ fetch: fetchMs, hash: hashMs, gunzip: gunzipMs }))
