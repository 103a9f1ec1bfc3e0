import { createHash } from 'node:crypto'
import {
  createReadStream,
  createWriteStream,
  existsSync,
  mkdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { createGzip } from 'node:zlib'
import { run } from '../../common/index.ts'
import { type Descriptor, type Digest, digestHex, digestOf, MEDIA, machinePlatform } from '../../oci/index.ts'
import { CACHE } from './cache.ts'
import { describeTree } from './tree-description.ts'

export interface RealImage {
  name: string
  /** An OCI image layout with the tag `made`. */
  layout: string
  digest: Digest
  /** Sum of the uncompressed layers. */
  tarBytes: number
}

/** How each layer's tar is made, lowest first. */
export type LayerRecipe = (target: string) => Promise<void>

export const debian =
  (variant: 'minbase' | 'extract', packages: readonly string[] = []): LayerRecipe =>
  async (target) => {
    const sources = ['/etc/apt/sources.list', '/etc/apt/sources.list.d/debian.sources'].filter(isUsed)
    const include = packages.length === 0 ? [] : [`--include=${packages.join(',')}`]
    const options = ['--quiet', `--variant=${variant}`, '--mode=root', ...include]
    await run('mmdebstrap', [...options, 'bookworm', target, ...sources], {
      timeoutMs: 300_000,
      env: { SOURCE_DATE_EPOCH: '1700000000', LC_ALL: 'C' },
    })
  }

/** What lies in a directory of this machine, packed by GNU tar. */
export const packed =
  (directory: string, ...paths: string[]): LayerRecipe =>
  async (target) => {
    const options = ['--create', '--sort=name', '--mtime=@1700000000', '--owner=0', '--group=0', '--format=pax']
    await run('tar', [...options, `--file=${target}`, `--directory=${directory}`, ...paths], { timeoutMs: 300_000 })
  }

function isUsed(path: string): boolean {
  return existsSync(path) && /^\s*(deb|Types:)/m.test(readFileSync(path, 'utf8'))
}

/** The image `name`, from the cache or made. */
export async function realImage(name: string, recipes: readonly LayerRecipe[]): Promise<RealImage> {
  const layout = join(CACHE, `${name}-oci`)
  if (!existsSync(join(layout, 'image.json'))) await makeLayout(layout, recipes)
  return {
    name,
    layout,
    ...(JSON.parse(readFileSync(join(layout, 'image.json'), 'utf8')) as { digest: Digest; tarBytes: number }),
  }
}

async function makeLayout(layout: string, recipes: readonly LayerRecipe[]): Promise<void> {
  const work = `${layout}.${process.pid}`
  mkdirSync(join(work, 'blobs/sha256'), { recursive: true })
  try {
    const layers: Descriptor[] = []
    const diffIds: Digest[] = []
    let tarBytes = 0
    for (const recipe of recipes) {
      const tar = join(work, 'layer.tar')
      await recipe(tar)
      tarBytes += statSync(tar).size
      diffIds.push(await fileDigest(tar))
      await pipeline(createReadStream(tar), createGzip({ level: 6 }), createWriteStream(join(work, 'layer.gz')))
      layers.push(await addFile(work, join(work, 'layer.gz'), MEDIA.ociLayerGzip))
      rmSync(tar)
    }
    const config = { ...machinePlatform(), config: {}, rootfs: { type: 'layers', diff_ids: diffIds } }
    const manifest = {
      schemaVersion: 2,
      mediaType: MEDIA.ociManifest,
      config: addJson(work, config, MEDIA.ociConfig),
      layers,
    }
    const descriptor = addJson(work, manifest, MEDIA.ociManifest)
    const entry = { ...descriptor, annotations: { 'org.opencontainers.image.ref.name': 'made' } }
    writeFileSync(join(work, 'oci-layout'), '{"imageLayoutVersion":"1.0.0"}')
    writeFileSync(join(work, 'index.json'), JSON.stringify({ schemaVersion: 2, manifests: [entry] }))
    writeFileSync(join(work, 'image.json'), JSON.stringify({ digest: descriptor.digest, tarBytes }))
    renameSync(work, layout)
  } finally {
    rmSync(work, { recursive: true, force: true })
  }
}

async function fileDigest(path: string): Promise<Digest> {
  const hash = createHash('sha256')
  await pipeline(createReadStream(path, { highWaterMark: 1024 * 1024 }), hash)
  return `sha256:${hash.digest('hex')}`
}

async function addFile(work: string, path: string, mediaType: string): Promise<Descriptor> {
  const digest = await fileDigest(path)
  const { size } = statSync(path)
  renameSync(path, join(work, 'blobs/sha256', digestHex(digest)))
  return { mediaType, digest, size }
}

function addJson(work: string, value: unknown, mediaType: string): Descriptor {
  const bytes = Buffer.from(JSON.stringify(value))
  writeFileSync(join(work, 'blobs/sha256', digestHex(digestOf(bytes))), bytes)
  return { mediaType, digest: digestOf(bytes), size: bytes.length }
}

/** What umoci makes of the image, from the cache or unpacked now: it takes half a minute for 600 MB. */
export async function umociDescription(image: RealImage): Promise<string[]> {
  const cached = join(CACHE, `umoci-${digestHex(image.digest)}.json`)
  if (existsSync(cached)) return JSON.parse(readFileSync(cached, 'utf8')) as string[]
  const bundle = join(CACHE, `umoci-${process.pid}`)
  try {
    await run('umoci', ['unpack', '--image', `${image.layout}:made`, bundle], { timeoutMs: 300_000 })
    const lines = describeTree(join(bundle, 'rootfs'), { skipDevices: true })
    writeFileSync(`${cached}.tmp`, JSON.stringify(lines))
    renameSync(`${cached}.tmp`, cached)
    return lines
  } finally {
    rmSync(bundle, { recursive: true, force: true })
  }
}
