import { chmodSync, existsSync, mkdirSync, mkdtempSync, renameSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { removeStale, run } from '../common/index.ts'
import { type BuiltImage, type Digest, digestHex, type ImageConfig, type Manifest } from '../oci/index.ts'

/** The image that a source function stands on, as this machine holds it. */
export interface BaseImage {
  /** `node26` */
  runtime: string
  /** Its repository in a registry that has it, so that its blobs can be mounted from there. */
  repository: string
  digest: Digest
  image: BuiltImage
  manifest: Manifest
  config: ImageConfig
  /** Compressed layers by digest. */
  files: ReadonlyMap<Digest, string>
}

/** The base's layers unpacked below `cacheDirectory`, once each, lowest first. The tars are our own making. */
export async function unpackBase(base: BaseImage, cacheDirectory: string, signal: AbortSignal): Promise<string[]> {
  const home = join(cacheDirectory, 'base-layers')
  mkdirSync(home, { recursive: true, mode: 0o700 })
  removeStale(home, /-/)
  const directories: string[] = []
  for (const [index, layer] of base.image.layers.entries()) {
    const directory = join(home, digestHex(base.config.rootfs.diff_ids[index] ?? layer.digest))
    if (!existsSync(directory)) await unpack(base.files.get(layer.digest) ?? '', directory, signal)
    directories.push(directory)
  }
  return directories
}

async function unpack(file: string, directory: string, signal: AbortSignal): Promise<void> {
  const making = mkdtempSync(`${directory}-`)
  chmodSync(making, 0o755) // the root directory of the container is the one of its uppermost layer
  try {
    const options = ['--numeric-owner', '--same-owner', '--same-permissions']
    await run('tar', ['--extract', '--gzip', ...options, '--file', file, '--directory', making], { signal })
    if (!existsSync(directory)) renameSync(making, directory)
  } finally {
    rmSync(making, { recursive: true, force: true })
  }
}
