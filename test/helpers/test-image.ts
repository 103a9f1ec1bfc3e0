import { createHash } from 'node:crypto'
import {
  chmodSync,
  copyFileSync,
  cpSync,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { run } from '../../common/index.ts'
import { type Digest, digestOf, type ImageConfig, type Manifest, MEDIA } from '../../oci/index.ts'

const FIXTURE = join(import.meta.dirname, '../fixtures/probe/server.mjs')
const MODULES = join(import.meta.dirname, '../../node_modules')

export interface TestLayer {
  /** The unpacked layer, as an overlay takes it. */
  directory: string
  /** The same as `tar.gz`. */
  archive: string
  archiveDigest: Digest
  archiveBytes: number
  diffId: Digest
}

/** An image whose function is test/fixtures/probe/server.mjs: Node, a shell, koffi, a user `probe` (1001:1002, also in group 1003). */
export interface TestImage {
  layers: TestLayer[]
  config: ImageConfig
  configJson: string
  manifestJson: string
  manifestDigest: Digest
}

/**
 * Makes the test image from programs of this machine. The base layer (150 MB) is kept in the temporary directory between runs, under a name
 * made from its content; `extra` fills a layer of its own above it.
 */
export async function makeTestImage(
  options: { config?: ImageConfig['config']; extra?: (directory: string) => void; scratch?: string } = {},
): Promise<TestImage> {
  const layers = [await baseLayer()]
  if (options.extra !== undefined) {
    if (options.scratch === undefined) throw new Error('an extra layer needs a scratch directory')
    const directory = mkdtempSync(join(options.scratch, 'layer-'))
    chmodSync(directory, 0o755)
    options.extra(directory)
    layers.push(await archiveLayer(directory))
  }
  const config: ImageConfig = {
    architecture: process.arch === 'arm64' ? 'arm64' : 'amd64',
    os: 'linux',
    config: {
      Env: ['PATH=/usr/bin:/bin', 'IMAGE_VARIABLE=from image', 'OVERLAID=from image'],
      Entrypoint: ['/usr/bin/node', '/probe/server.mjs'],
      Cmd: ['listen'],
      WorkingDir: '/probe',
      ...options.config,
    },
    rootfs: { type: 'layers', diff_ids: layers.map((layer) => layer.diffId) },
  }
  const configJson = JSON.stringify(config)
  const manifest: Manifest = {
    schemaVersion: 2,
    mediaType: MEDIA.ociManifest,
    config: { mediaType: MEDIA.ociConfig, digest: digestOf(configJson), size: Buffer.byteLength(configJson) },
    layers: layers.map((layer) => ({
      mediaType: MEDIA.ociLayerGzip,
      digest: layer.archiveDigest,
      size: layer.archiveBytes,
    })),
  }
  const manifestJson = JSON.stringify(manifest)
  return { layers, config, configJson, manifestJson, manifestDigest: digestOf(manifestJson) }
}

async function baseLayer(): Promise<TestLayer> {
  const key = createHash('sha256')
    .update(process.version)
    .update(readFileSync(FIXTURE))
    .update(readFileSync(import.meta.filename))
    .digest('hex')
    .slice(0, 16)
  const home = join(tmpdir(), `slipway-test-image-${key}`)
  if (!existsSync(home)) {
    const making = mkdtempSync(`${home}-making-`)
    chmodSync(making, 0o755)
    mkdirSync(join(making, 'base'))
    await fillBase(join(making, 'base'))
    const layer = await archiveLayer(join(making, 'base'))
    writeFileSync(
      join(making, 'layer.json'),
      JSON.stringify({ archiveDigest: layer.archiveDigest, diffId: layer.diffId }),
    )
    try {
      renameSync(making, home)
    } catch {
      rmSync(making, { recursive: true }) // another run was quicker
    }
  }
  const digests = JSON.parse(readFileSync(join(home, 'layer.json'), 'utf8')) as {
    archiveDigest: Digest
    diffId: Digest
  }
  const archive = join(home, 'base.tar.gz')
  return { directory: join(home, 'base'), archive, archiveBytes: statSync(archive).size, ...digests }
}

async function fillBase(root: string): Promise<void> {
  const programs: [from: string, to: string][] = [
    [process.execPath, '/usr/bin/node'],
    ['/bin/sh', '/bin/sh'],
    ['/bin/cat', '/bin/cat'],
    ['/bin/sleep', '/bin/sleep'],
    ['/bin/cat', '/bin/setuid-cat'],
  ]
  for (const [from, to] of programs) copyInto(root, from, to)
  chmodSync(join(root, 'bin/setuid-cat'), 0o4755)
  for (const library of await librariesOf(programs.map(([from]) => from))) copyInto(root, library, library)
  copyInto(root, FIXTURE, '/probe/server.mjs')
  for (const name of ['koffi', '@koromix']) {
    cpSync(join(MODULES, name), join(root, 'probe/node_modules', name), { recursive: true })
  }
  mkdirSync(join(root, 'etc'))
  writeFileSync(
    join(root, 'etc/passwd'),
    'root:x:0:0:root:/root:/bin/sh\nprobe:x:1001:1002:probe:/home/probe:/bin/sh\n',
  )
  writeFileSync(join(root, 'etc/group'), 'root:x:0:\nprobe:x:1002:\nextra:x:1003:probe\n')
}

function copyInto(root: string, from: string, to: string): void {
  const target = join(root, to)
  mkdirSync(dirname(target), { recursive: true })
  copyFileSync(from, target)
}

async function librariesOf(programs: readonly string[]): Promise<string[]> {
  const { stdout } = await run('ldd', programs)
  return [...new Set(stdout.match(/\/\S+\.so\S*/g) ?? [])].filter((path) => lstatSync(path, { throwIfNoEntry: false }))
}

async function archiveLayer(directory: string): Promise<TestLayer> {
  const tar = `${directory}.tar`
  const options = ['--sort=name', '--mtime=@1700000000', '--numeric-owner', '--owner=0', '--group=0', '--format=pax']
  await run('tar', [...options, '--pax-option=delete=atime,delete=ctime', '-C', directory, '-cf', tar, '.'])
  const diffId = await fileDigest(tar)
  await run('gzip', ['-1', '-n', tar], { timeoutMs: 120_000 })
  const archive = `${tar}.gz`
  return { directory, archive, archiveDigest: await fileDigest(archive), archiveBytes: statSync(archive).size, diffId }
}

async function fileDigest(path: string): Promise<Digest> {
  const { stdout } = await run('sha256sum', [path])
  return `sha256:${stdout.slice(0, 64)}`
}
