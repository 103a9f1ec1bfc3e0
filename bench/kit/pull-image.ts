import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { Readable } from 'node:stream'
import { promisify } from 'node:util'
import { gzip } from 'node:zlib'
import { type Descriptor, type Digest, digestOf, MEDIA, machinePlatform, RegistryClient } from '../../oci/index.ts'
import { directory, file, type MadeEntry, makeTar } from '../../test/helpers/tar-maker.ts'

const LAYERS = 5
const FILES = 25_000
const TOTAL_BYTES = 600_000_000
/** One file in ten is large; together the large ones are most of the bytes, as in images that people run. */
const LARGE_SHARE = 0.75

export interface BenchImage {
  tars: Buffer[]
  blobs: Buffer[]
  layers: Descriptor[]
  diffIds: Digest[]
}

/** 600 MB in 25,000 files and 5 gzip layers. The files are pieces of Node's own binary, which compress about as well as programs and libraries do. */
export async function makeBenchImage(): Promise<BenchImage> {
  const material = readFileSync(process.execPath)
  const tars = Array.from({ length: LAYERS }, (_, layer) => makeTar(entriesOf(layer, material)))
  const blobs = await Promise.all(tars.map((tar) => promisify(gzip)(tar, { level: 6 })))
  return {
    tars,
    blobs,
    layers: blobs.map((blob) => ({ mediaType: MEDIA.dockerLayerGzip, digest: digestOf(blob), size: blob.length })),
    diffIds: tars.map((tar) => digestOf(tar)),
  }
}

function entriesOf(layer: number, material: Buffer): MadeEntry[] {
  const files = FILES / LAYERS
  const bytes = TOTAL_BYTES / LAYERS
  const largeBytes = Math.round((bytes * LARGE_SHARE) / (files / 10))
  const smallBytes = Math.round((bytes * (1 - LARGE_SHARE)) / ((files * 9) / 10))
  const entries: MadeEntry[] = [directory(`layer${layer}/`)]
  for (let index = 0; index < files; index += 1) {
    if (index % 25 === 0) entries.push(directory(`layer${layer}/d${index / 25}/`))
    const noise = createHash('sha256').update(`${layer}/${index}`).digest()
    const mean = index % 10 === 0 ? largeBytes : smallBytes
    const length = Math.round(mean * (0.5 + noise.readUInt16LE(0) / 65_536))
    const start = noise.readUInt32LE(4) % (material.length - length)
    const name = `layer${layer}/d${Math.floor(index / 25)}/file${index}`
    entries.push(file(name, material.subarray(start, start + length), { mode: index % 7 === 0 ? 0o755 : 0o644 }))
  }
  return entries
}

/** Pushes it in Docker's format, which every Engine reads, and answers the manifest's digest. */
export async function pushBenchImage(image: BenchImage, registry: string, repository: string): Promise<Digest> {
  const client = new RegistryClient({ registry, credential: { kind: 'anonymous' } })
  const put = async (bytes: Buffer, mediaType: string): Promise<Descriptor> => {
    const descriptor = { mediaType, digest: digestOf(bytes), size: bytes.length }
    await client.uploadBlob(repository, descriptor, () => Readable.from([bytes]))
    return descriptor
  }
  for (const blob of image.blobs) await put(blob, MEDIA.dockerLayerGzip)
  const config = { ...machinePlatform(), config: {}, rootfs: { type: 'layers', diff_ids: image.diffIds } }
  const manifest = {
    schemaVersion: 2,
    mediaType: MEDIA.dockerManifest,
    config: await put(Buffer.from(JSON.stringify(config)), MEDIA.dockerConfig),
    layers: image.layers,
  }
  const digest = await client.putManifest(
    repository,
    'bench',
    MEDIA.dockerManifest,
    Buffer.from(JSON.stringify(manifest)),
  )
  await client.close()
  return digest
}
