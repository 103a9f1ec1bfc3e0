import { createHash } from 'node:crypto'
import { mkdirSync, readFileSync, statSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { AppError } from '../../common/index.ts'
import {
  type BuiltImage,
  buildImage,
  type CachedLayer,
  type Digest,
  type ImageConfig,
  LayerCache,
  type LayerEntry,
  type Manifest,
  machinePlatform,
} from '../../oci/index.ts'
import { readAptSetup } from './apt-sources.ts'
import { PACKAGES, unpackDebian } from './debian.ts'

/** The runtime that this base is for, and the repository it has in a registry (no namespace can have this name). */
export const RUNTIME = 'node26'
export const BASE_REPOSITORY = `slipway_base/${RUNTIME}`

const ADAPTER = '/usr/lib/slipway/server.mjs'
const NODE = '/usr/local/bin/node'

export interface NodeBaseOptions {
  /** Layers are kept here, so that a second call makes nothing again. */
  cacheDirectory: string
  /** Make the packages layer again from what the archive has now. Default false. */
  refresh?: boolean
  progress?: (line: string) => void
  signal?: AbortSignal
}

/** A base image as this machine holds it: its documents and, for each of its layers, a file. */
export interface NodeBase {
  runtime: string
  repository: string
  digest: Digest
  image: BuiltImage
  manifest: Manifest
  config: ImageConfig
  /** Compressed layers by digest. */
  files: ReadonlyMap<Digest, string>
  /** `NAME VERSION` of each Debian package in it. */
  packages: readonly string[]
  /** Whether every layer was there already. */
  cached: boolean
}

/**
 * Makes the base image of Node functions, or finds it made: Debian packages, the Node binary that this project itself runs on, the adapter; a layer each.
 * The same packages, binary and adapter give the same digest on any machine. Throws `base-image-failed`, `apt-sources-missing`.
 */
export async function makeNodeBase(options: NodeBaseOptions): Promise<NodeBase> {
  mkdirSync(options.cacheDirectory, { recursive: true, mode: 0o700 })
  const cache = new LayerCache(join(options.cacheDirectory, 'layers'))
  const made = { count: 0 }
  const packages = await packagesLayer(cache, options, made)
  const node = await nodeLayer(cache, options, made)
  const adapter = await adapterLayer(cache, made)
  const layers = [packages, node, adapter]
  const image = buildImage({
    base: { manifest: { layers: [] }, config: emptyConfig() },
    layers: layers.map(({ descriptor, diffId, facts }) => ({
      descriptor,
      diffId,
      createdBy: String(facts['createdBy']),
    })),
    changes: {
      env: { PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin', LANG: 'C.UTF-8' },
      entrypoint: [NODE, ADAPTER],
      workingDir: '/var/user',
      user: '1000:1000',
      exposedPorts: ['9000/tcp'],
      labels: { 'slipway.runtime': RUNTIME },
    },
  })
  return {
    runtime: RUNTIME,
    repository: BASE_REPOSITORY,
    digest: image.manifest.descriptor.digest,
    image,
    manifest: JSON.parse(image.manifest.bytes.toString('utf8')) as Manifest,
    config: JSON.parse(image.config.bytes.toString('utf8')) as ImageConfig,
    files: new Map(layers.map((layer) => [layer.descriptor.digest, layer.file])),
    packages: packages.facts['packages'] as string[],
    cached: made.count === 0,
  }
}

interface Made {
  count: number
}

async function packagesLayer(cache: LayerCache, options: NodeBaseOptions, made: Made): Promise<CachedLayer> {
  const apt = await readAptSetup()
  const key = ['debian', apt.codename, machinePlatform(), PACKAGES, sourceOf('debian.ts')]
  const known = options.refresh === true ? undefined : cache.find(key)
  if (known !== undefined) return known
  if (process.getuid?.() !== 0) {
    throw new AppError('making the base image needs root', {
      code: 'base-image-failed',
      fault: 'user',
      hint: 'run it once as root; the layers are kept',
    })
  }
  made.count += 1
  options.progress?.(`unpacking ${PACKAGES.length} packages of ${apt.codename} and what they need`)
  const tree = await unpackDebian(apt, options.cacheDirectory, options.signal)
  try {
    const facts = { packages: tree.packages, createdBy: `packages of ${apt.codename}: ${PACKAGES.join(' ')}` }
    return await cache.write(key, tree.entries, facts, options.signal === undefined ? {} : { signal: options.signal })
  } finally {
    tree.close()
  }
}

async function nodeLayer(cache: LayerCache, options: NodeBaseOptions, made: Made): Promise<CachedLayer> {
  const { binary, version } = nodeBinary()
  const key = ['node', version, machinePlatform(), statSync(binary).size, sourceOf('build.ts')]
  const known = cache.find(key)
  if (known !== undefined) return known
  made.count += 1
  options.progress?.(`packing Node ${version}`)
  const entries: LayerEntry[] = [
    { kind: 'file', path: NODE.slice(1), mode: 0o755, content: { file: binary } },
    ...directories('usr/local/bin', `var/lang/${RUNTIME}/bin`),
    // Where start scripts written for the cloud service look for it (facts: scf-contract 8.3).
    { kind: 'symlink', path: `var/lang/${RUNTIME}/bin/node`, target: NODE },
  ]
  return cache.write(
    key,
    entries,
    { createdBy: `Node ${version}` },
    options.signal === undefined ? {} : { signal: options.signal },
  )
}

async function adapterLayer(cache: LayerCache, made: Made): Promise<CachedLayer> {
  const adapter = readFileSync(join(import.meta.dirname, 'adapter/server.mjs'))
  const key = ['adapter', createHash('sha256').update(adapter).digest('hex'), sourceOf('build.ts')]
  const known = cache.find(key)
  if (known !== undefined) return known
  made.count += 1
  const entries: LayerEntry[] = [
    ...directories('usr/lib/slipway', 'var/user'),
    { kind: 'file', path: ADAPTER.slice(1), content: adapter },
  ]
  return cache.write(key, entries, { createdBy: 'adapter of event functions' })
}

/** The directories and all above them: one that is only implied gets whatever mode its unpacker gives it. */
function directories(...paths: string[]): LayerEntry[] {
  const all = paths.flatMap((path) => path.split('/').map((_, index, parts) => parts.slice(0, index + 1).join('/')))
  return [...new Set(all)].map((path) => ({ kind: 'directory', path }))
}

/** The binary that the project's own dependencies pin, not whichever Node runs us. */
function nodeBinary(): { binary: string; version: string } {
  const name = `node-linux-${process.arch}`
  try {
    const manifest = createRequire(import.meta.url).resolve(`${name}/package.json`)
    const { version } = JSON.parse(readFileSync(manifest, 'utf8')) as { version: string }
    return { binary: join(dirname(manifest), 'bin/node'), version }
  } catch (cause) {
    throw new AppError(`the Node binary for the base image is missing: there is no package ${name}`, {
      code: 'base-image-failed',
      fault: 'dependency',
      hint: 'run "npm ci" in the project',
      cause,
    })
  }
}

/** The code that makes a layer is part of what decides its content. */
function sourceOf(name: string): string {
  return createHash('sha256')
    .update(readFileSync(join(import.meta.dirname, name)))
    .digest('hex')
}

function emptyConfig(): ImageConfig {
  const { os, architecture } = machinePlatform()
  return { os, architecture, rootfs: { type: 'layers', diff_ids: [] } }
}
