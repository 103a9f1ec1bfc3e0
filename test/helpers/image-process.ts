import { type ChildProcess, spawn } from 'node:child_process'
import {
  chmodSync,
  createWriteStream,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { request } from 'node:http'
import { Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import { createLogger, mountOverlay, run, unmount } from '../../common/index.ts'
import {
  type Descriptor,
  type Digest,
  digestHex,
  type ImageConfig,
  loadImage,
  type Manifest,
  machinePlatform,
  RegistryClient,
} from '../../oci/index.ts'
import { NetworkNamespaces } from '../../sandbox/index.ts'

/** An image of a registry, its layers unpacked by tar and laid over each other: what every engine would see. */
export interface UnpackedImage {
  root: string
  config: ImageConfig
  manifest: Manifest
  /** Names in each layer, lowest first. */
  layerNames: string[][]
  remove(): void
}

/** `cache` keeps unpacked layers for later images. */
export async function unpackImage(
  registry: string,
  repository: string,
  digest: Digest,
  cache: string,
): Promise<UnpackedImage> {
  const home = mkdtempSync(join(tmpdir(), 'slipway-unpacked-'))
  const root = join(home, 'root')
  mkdirSync(root)
  mkdirSync(cache, { recursive: true })
  const client = new RegistryClient({ registry, credential: { kind: 'anonymous' } })
  try {
    const { manifest, config } = await loadImage(client, repository, digest, machinePlatform())
    const directories: string[] = []
    for (const layer of manifest.layers) directories.push(await unpackLayer(client, repository, layer, cache))
    mountOverlay(directories, root)
    const layerNames = directories.map((directory) => readFileSync(`${directory}.names`, 'utf8').trim().split('\n'))
    const remove = (): void => {
      unmount(root)
      rmSync(home, { recursive: true, force: true })
    }
    return { root, config, manifest, layerNames, remove }
  } finally {
    await client.close()
  }
}

async function unpackLayer(
  client: RegistryClient,
  repository: string,
  layer: Descriptor,
  cache: string,
): Promise<string> {
  const directory = join(cache, digestHex(layer.digest))
  if (existsSync(`${directory}.names`)) return directory
  mkdirSync(directory)
  chmodSync(directory, 0o755)
  await pipeline(client.openBlob(repository, layer), createWriteStream(`${directory}.tar.gz`))
  const options = ['--extract', '--gzip', '--verbose', '--numeric-owner', '--same-permissions']
  const { stdout } = await run('tar', [...options, '-f', `${directory}.tar.gz`, '-C', directory])
  writeFileSync(`${directory}.names`, stdout)
  return directory
}

export interface ImageProcess {
  post(path: string, body: string, headers?: Record<string, string>): Promise<{ status: number; text: string }>
  output(): string
  stop(): Promise<number | null>
}

/** Runs the command of an unpacked image as its user, in its root and in a network namespace with nothing but loopback. */
export async function startImage(image: UnpackedImage): Promise<ImageProcess> {
  const pin = join(image.root, '..', 'netns')
  const namespaces = new NetworkNamespaces(createLogger('test'))
  namespaces.make(pin)
  const { Entrypoint = [], Cmd = [], User = '', Env = [], WorkingDir = '/' } = image.config.config ?? {}
  const inRoot = [
    'chroot',
    `--userspec=${User}`,
    image.root,
    '/bin/bash',
    '-c',
    `cd ${WorkingDir} && exec "$@"`,
    'bash',
  ]
  const child = spawn('nsenter', [`--net=${pin}`, ...inRoot, ...Entrypoint, ...Cmd], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: Object.fromEntries(Env.map((entry) => entry.split(/=(.*)/s, 2) as [string, string])),
  })
  let output = ''
  for (const stream of [child.stdout, child.stderr]) {
    stream.on('data', (chunk: Buffer) => {
      output += chunk.toString('utf8')
    })
  }
  const exited = new Promise<number | null>((resolve) => child.once('exit', resolve))
  return {
    output: () => output,
    post: async (path, body, headers = {}) => post(await dial(namespaces, pin, child), path, body, headers),
    stop: async () => {
      child.kill('SIGTERM')
      const code = await exited
      namespaces.remove(pin)
      namespaces.close()
      return code
    },
  }
}

async function dial(namespaces: NetworkNamespaces, pin: string, child: ChildProcess): Promise<Socket> {
  for (let attempt = 0; attempt < 400; attempt += 1) {
    const dialled = await namespaces.dial(pin, 9000)
    if (dialled.kind === 'connected') return new Socket({ fd: dialled.fd })
    if (child.exitCode !== null) throw new Error(`the image's process ended with ${child.exitCode}`)
    await sleep(25)
  }
  throw new Error('the image does not listen on port 9000')
}

function post(socket: Socket, path: string, body: string, headers: Record<string, string>) {
  return new Promise<{ status: number; text: string }>((resolve, reject) => {
    const asked = request({ createConnection: () => socket, method: 'POST', path, headers })
    asked.once('error', reject)
    asked.once('response', (response) => {
      let text = ''
      response.on('data', (chunk: Buffer) => {
        text += chunk.toString('utf8')
      })
      response.once('end', () => resolve({ status: response.statusCode ?? 0, text }))
    })
    asked.end(body)
  })
}
