import { type ChildProcess, spawn } from 'node:child_process'
import { createReadStream, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { setTimeout as sleep } from 'node:timers/promises'
import { type Digest, MEDIA } from '../../oci/index.ts'
import type { TestImage } from './test-image.ts'

export interface TestRegistry {
  /** `127.0.0.1:PORT` */
  address: string
  push(image: TestImage, repository: string): Promise<Digest>
  close(): Promise<void>
}

/** A docker-registry without authentication on a free port, with a storage directory of its own. */
export async function startTestRegistry(): Promise<TestRegistry> {
  const home = mkdtempSync(join(tmpdir(), 'slipway-registry-'))
  const address = `127.0.0.1:${await freePort()}`
  writeFileSync(
    join(home, 'config.yml'),
    `version: 0.1\nlog: { level: error }\nstorage: { filesystem: { rootdirectory: ${home}/data } }\nhttp: { addr: ${address} }\n`,
  )
  const child = spawn('docker-registry', ['serve', join(home, 'config.yml')], { stdio: 'ignore' })
  await answers(`http://${address}/v2/`, child)
  return {
    address,
    push: (image, repository) => pushImage(address, image, repository),
    close: async () => {
      const gone = new Promise((resolve) => child.once('exit', resolve))
      child.kill('SIGKILL')
      await gone
      rmSync(home, { recursive: true, force: true })
    },
  }
}

export async function freePort(): Promise<number> {
  const server = createServer()
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const address = server.address()
  await new Promise((resolve) => server.close(resolve))
  if (address === null || typeof address === 'string') throw new Error('no port')
  return address.port
}

async function answers(url: string, child: ChildProcess): Promise<void> {
  for (let attempt = 0; attempt < 200; attempt += 1) {
    if (child.exitCode !== null) throw new Error(`docker-registry ended with ${child.exitCode}`)
    const response = await fetch(url).catch(() => undefined)
    if (response?.ok === true) return
    await sleep(50)
  }
  throw new Error(`${url} does not answer`)
}

async function pushImage(address: string, image: TestImage, repository: string): Promise<Digest> {
  const base = `http://${address}/v2/${repository}`
  for (const layer of image.layers) {
    await pushBlob(base, layer.archiveDigest, layer.archiveBytes, () => Readable.toWeb(createReadStream(layer.archive)))
  }
  const config = Buffer.from(image.configJson)
  const { digest } = (JSON.parse(image.manifestJson) as { config: { digest: Digest } }).config
  await pushBlob(base, digest, config.length, () => config)
  const put = await fetch(`${base}/manifests/${image.manifestDigest}`, {
    method: 'PUT',
    headers: { 'content-type': MEDIA.ociManifest },
    body: image.manifestJson,
  })
  if (!put.ok) throw new Error(`push of the manifest failed: ${put.status} ${await put.text()}`)
  return image.manifestDigest
}

async function pushBlob(base: string, digest: Digest, bytes: number, body: () => unknown): Promise<void> {
  const head = await fetch(`${base}/blobs/${digest}`, { method: 'HEAD' })
  if (head.ok) return
  const opened = await fetch(`${base}/blobs/uploads/`, { method: 'POST' })
  const location = new URL(opened.headers.get('location') ?? '', base)
  location.searchParams.set('digest', digest)
  const request = {
    method: 'PUT',
    headers: { 'content-type': 'application/octet-stream', 'content-length': String(bytes) },
    body: body(),
    duplex: 'half',
  }
  const put = await fetch(location, request as RequestInit)
  if (!put.ok) throw new Error(`push of ${digest} failed: ${put.status} ${await put.text()}`)
}
