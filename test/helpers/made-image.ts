import { mkdirSync, writeFileSync } from 'node:fs'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { join } from 'node:path'
import { gzipSync, zstdCompressSync } from 'node:zlib'
import { type Descriptor, type Digest, digestHex, digestOf, MEDIA, machinePlatform } from '../../oci/index.ts'

export interface MadeImage {
  /** Digest of the manifest. */
  digest: Digest
  blobs: Map<Digest, { bytes: Buffer; mediaType: string }>
  layers: Descriptor[]
  diffIds: Digest[]
}

export type Compression = 'gzip' | 'zstd' | 'none'

const LAYER_TYPE = { gzip: MEDIA.ociLayerGzip, zstd: MEDIA.ociLayerZstd, none: MEDIA.ociLayerTar }
const compress = {
  gzip: (tar: Buffer): Buffer => gzipSync(tar, { level: 1 }),
  zstd: (tar: Buffer): Buffer => zstdCompressSync(tar),
  none: (tar: Buffer): Buffer => tar,
}

/** An image of these tars, lowest first. */
export function makeImage(tars: readonly Buffer[], compression: Compression = 'gzip', docker = false): MadeImage {
  const layerType = docker ? MEDIA.dockerLayerGzip : LAYER_TYPE[compression]
  const layers = tars.map((tar) => blob(compress[compression](tar), layerType))
  const diffIds = tars.map((tar) => digestOf(tar))
  const config = blob(
    Buffer.from(
      JSON.stringify({ ...machinePlatform(), config: { Cmd: ['/x'] }, rootfs: { type: 'layers', diff_ids: diffIds } }),
    ),
    docker ? MEDIA.dockerConfig : MEDIA.ociConfig,
  )
  const mediaType = docker ? MEDIA.dockerManifest : MEDIA.ociManifest
  const descriptors = layers.map(({ descriptor }) => descriptor)
  const manifest = blob(
    Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType, config: config.descriptor, layers: descriptors })),
    mediaType,
  )
  const all = [...layers, config, manifest]
  return {
    digest: manifest.descriptor.digest,
    layers: descriptors,
    diffIds,
    blobs: new Map(all.map(({ descriptor, bytes }) => [descriptor.digest, { bytes, mediaType: descriptor.mediaType }])),
  }
}

/** An index that names `image` for this machine's platform. */
export function makeIndex(image: MadeImage): MadeImage {
  const own = image.blobs.get(image.digest)
  if (own === undefined) throw new Error('an image without its manifest')
  const entry = {
    mediaType: own.mediaType,
    digest: image.digest,
    size: own.bytes.length,
    platform: machinePlatform(),
  }
  const other = { ...entry, platform: { os: 'plan9', architecture: 'mips' }, digest: digestOf('another') }
  const index = blob(
    Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType: MEDIA.ociIndex, manifests: [other, entry] })),
    MEDIA.ociIndex,
  )
  const blobs = new Map(image.blobs)
  blobs.set(index.descriptor.digest, { bytes: index.bytes, mediaType: MEDIA.ociIndex })
  return { ...image, digest: index.descriptor.digest, blobs }
}

function blob(bytes: Buffer, mediaType: string): { descriptor: Descriptor; bytes: Buffer } {
  return { descriptor: { mediaType, digest: digestOf(bytes), size: bytes.length }, bytes }
}

/** Writes an OCI image layout with the tag `made`, as umoci reads it. */
export function writeOciLayout(image: MadeImage, directory: string): void {
  mkdirSync(join(directory, 'blobs/sha256'), { recursive: true })
  for (const [digest, { bytes }] of image.blobs)
    writeFileSync(join(directory, 'blobs/sha256', digestHex(digest)), bytes)
  const manifest = image.blobs.get(image.digest)
  const entry = {
    mediaType: MEDIA.ociManifest,
    digest: image.digest,
    size: manifest?.bytes.length,
    annotations: { 'org.opencontainers.image.ref.name': 'made' },
  }
  writeFileSync(join(directory, 'oci-layout'), '{"imageLayoutVersion":"1.0.0"}')
  writeFileSync(join(directory, 'index.json'), JSON.stringify({ schemaVersion: 2, manifests: [entry] }))
}

export interface BlobServer {
  /** `127.0.0.1:PORT` */
  address: string
  /** Method and path of every request, and the range that it asked for. */
  requests: { path: string; range: string | undefined }[]
  add(image: MadeImage): void
  /** Called before a blob is answered; answers true when it answered by itself. */
  intercept: (request: IncomingMessage, response: ServerResponse, bytes: Buffer) => boolean
  close(): Promise<void>
}

/** A registry's pull side over plain HTTP, which can be told to misbehave as no real registry can. */
export async function serveImages(...images: readonly MadeImage[]): Promise<BlobServer> {
  const blobs = new Map<string, { bytes: Buffer; mediaType: string }>()
  const server = createServer((request, response) => {
    const path = decodeURIComponent(request.url ?? '')
    const range = request.headers.range
    self.requests.push({ path, range })
    const found = blobs.get(path.split('/').at(-1) ?? '')
    if (path === '/v2/') response.end('{}')
    else if (found === undefined) response.writeHead(404).end('{"errors":[{"code":"BLOB_UNKNOWN"}]}')
    else if (!path.includes('/blobs/') || !self.intercept(request, response, found.bytes)) {
      sendRange(response, found, range)
    }
  })
  const self: BlobServer = {
    address: '',
    requests: [],
    intercept: () => false,
    add: (image) => {
      for (const [digest, content] of image.blobs) blobs.set(digest, content)
    },
    close: async () => {
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    },
  }
  for (const image of images) self.add(image)
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const address = server.address()
  self.address = typeof address === 'object' && address !== null ? `127.0.0.1:${address.port}` : ''
  return self
}

function sendRange(
  response: ServerResponse,
  content: { bytes: Buffer; mediaType: string },
  range: string | undefined,
): void {
  const { bytes, mediaType } = content
  const match = /^bytes=([0-9]+)-([0-9]+)$/.exec(range ?? '')
  const [from, to] = match === null ? [0, bytes.length - 1] : [Number(match[1]), Number(match[2])]
  const part = bytes.subarray(from, to + 1)
  const partial = match === null ? {} : { 'content-range': `bytes ${from}-${to}/${bytes.length}` }
  response
    .writeHead(match === null ? 200 : 206, { 'content-type': mediaType, 'content-length': part.length, ...partial })
    .end(part)
}
