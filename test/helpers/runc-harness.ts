import { spawn } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, realpathSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createLogger, type DataPaths, dataPaths, identify } from '../../common/index.ts'
import { type ContentStore, type LocalImage, openContentStore } from '../../content/index.ts'
import type { InstanceSpec } from '../../runtime-shim/engines/engine.ts'
import type { HostileHarness } from '../../runtime-shim/engines/hostile-contract.ts'
import { openRuncEngine, type RuncEngine } from '../../runtime-shim/engines/runc.ts'
import type { RuncEngineOptions } from '../../runtime-shim/engines/runc-tools.ts'
import { startTestRegistry } from './registry.ts'
import { makeTestImage, type TestImage } from './test-image.ts'

/** A content store that holds given images and no more: layers lie where the test image has them. */
export function storeOf(images: readonly TestImage[]): ContentStore {
  const owners = new Map<string, number>()
  const find = async (digest: string): Promise<LocalImage | undefined> => {
    const image = images.find((candidate) => candidate.manifestDigest === digest)
    return image === undefined ? undefined : localImage(image)
  }
  return {
    find,
    pull: async ({ digest }) => {
      const image = await find(digest)
      if (image === undefined) throw new Error(`no test image ${digest}`)
      return { image, pulled: false, downloadedBytes: 0, pullMs: 0, unpackMs: 0 }
    },
    lease: async (_digest, owner) => {
      owners.set(owner, (owners.get(owner) ?? 0) + 1)
      return { release: () => owners.delete(owner) }
    },
    releaseOwner: (owner) => owners.delete(owner),
    owners: () => [...owners.keys()],
    collect: async () => ({ removedBytes: 0, removedLayers: 0 }),
    close: async () => undefined,
  }
}

function localImage(image: TestImage): LocalImage {
  return {
    manifestDigest: image.manifestDigest,
    config: image.config,
    sizeBytes: image.layers.reduce((sum, layer) => sum + layer.archiveBytes, 0),
    layerDirectories: image.layers.map((layer) => layer.directory),
  }
}

export interface RuncHarness extends HostileHarness {
  readonly engine: RuncEngine
  readonly root: string
  readonly options: RuncEngineOptions
}

export interface RuncSettings extends Partial<RuncEngineOptions> {
  /** Pull from a registry into a real content store, as the platform does. Default: layers are used where the test image has them, which is quicker. */
  pulls?: boolean
}

/** The runc engine in a data directory of its own. */
export async function makeRuncHarness(settings: RuncSettings = {}): Promise<RuncHarness> {
  const { pulls = false, ...overrides } = settings
  const root = realpathSync(mkdtempSync(join(tmpdir(), 'slipway-runc-')))
  const paths = dataPaths(root)
  mkdirSync(paths.run, { recursive: true })
  const shelf = pulls ? await registryShelf(paths) : memoryShelf()
  const options: RuncEngineOptions = {
    hash: paths.hash,
    instancesDirectory: paths.instances,
    workDirectory: join(paths.run, 'sandbox'),
    content: shelf.content,
    log: createLogger('test'),
    ...overrides,
  }
  const engine = openRuncEngine(options)
  const opened = [engine]
  const credential = { kind: 'anonymous' } as const
  return {
    engine,
    root,
    options,
    image: await shelf.put(await makeTestImage()),
    credential,
    instancesDirectory: paths.instances,
    reopen: async () => {
      const other = openRuncEngine({ ...options, waitingSandboxes: 0 })
      opened.push(other)
      return other
    },
    makeImage: async (fill, config = {}) => {
      const image = await shelf.put(await makeTestImage({ extra: fill, scratch: root, config }))
      await engine.prepare({ ...image, credential, deadlineMs: Date.now() + 60_000 })
      return image
    },
    createInKilledProcess: (spec) => createInKilledProcess(root, pulls, spec),
    traces: async (id) => [...traces(paths.hash, id), ...options.content.owners().filter((owner) => owner === id)],
    close: async () => {
      for (const each of opened) await each.close()
      await shelf.close()
      const left = cgroupDirectories(`slipway-${paths.hash}`)
      rmSync(root, { recursive: true, force: true })
      if (left.length > 0) throw new Error(`control groups are left: ${left.join(' ')}`)
    },
  }
}

/** Where images are put so that the engine finds them. */
interface Shelf {
  content: ContentStore
  put(image: TestImage): Promise<InstanceSpec['image']>
  close(): Promise<void>
}

function memoryShelf(): Shelf {
  const images: TestImage[] = []
  return {
    content: storeOf(images),
    put: async (image) => {
      images.push(image)
      return { registry: '127.0.0.1:1', repository: 'probe', digest: image.manifestDigest, config: image.config }
    },
    close: async () => undefined,
  }
}

async function registryShelf(paths: DataPaths): Promise<Shelf> {
  const registry = await startTestRegistry()
  const content = await openContentStore(paths.content, { logger: createLogger('test') })
  return {
    content,
    put: async (image) => {
      const digest = await registry.push(image, 'default/probe')
      return { registry: registry.address, repository: 'default/probe', digest, config: image.config }
    },
    close: async () => {
      await content.close()
      await registry.close()
    },
  }
}

function createInKilledProcess(root: string, pulls: boolean, spec: InstanceSpec): Promise<void> {
  const script = join(import.meta.dirname, 'runc-child.ts')
  const child = spawn(process.execPath, [script, root, pulls ? 'pulls' : 'memory'], {
    stdio: ['pipe', 'pipe', 'inherit'],
  })
  child.stdin.end(JSON.stringify(spec))
  return new Promise((resolve, reject) => {
    child.stdout.on('data', (data: Buffer) => data.includes('started') && child.kill('SIGKILL'))
    child.on('exit', (code, signal) => {
      if (signal === 'SIGKILL') resolve()
      else reject(new Error(`the creating process ended with ${code} ${signal}`))
    })
  })
}

/** Every mount, control group and process that carries the instance's id. */
export function traces(hash: string, id: string): string[] {
  const mounts = readFileSync('/proc/self/mountinfo', 'utf8')
    .split('\n')
    .filter((line) => line.includes(id))
  const groups = cgroupDirectories(`slipway-${hash}/${id}`)
  const processes = readdirSync('/proc')
    .filter((entry) => /^\d+$/.test(entry) && identify(Number(entry)) !== undefined) // a dead one that init has yet to collect is none
    .filter((pid) => ['cmdline', 'cgroup'].some((file) => readQuietly(`/proc/${pid}/${file}`).includes(id)))
    .map((pid) => `process ${pid}: ${readQuietly(`/proc/${pid}/cmdline`).replaceAll('\0', ' ')}`)
  const loops = readdirSync('/sys/block')
    .map((name) => readQuietly(`/sys/block/${name}/loop/backing_file`).trim())
    .filter((file) => file.includes(id))
  return [...mounts, ...groups, ...processes, ...loops]
}

function cgroupDirectories(path: string): string[] {
  const roots = ['', ...readdirSync('/sys/fs/cgroup')].map((name) => join('/sys/fs/cgroup', name))
  return roots.map((root) => join(root, path)).filter((directory) => existsSync(directory))
}

function readQuietly(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return ''
  }
}
