import { spawn } from 'node:child_process'
import { mkdirSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { get } from 'node:http'
import { join } from 'node:path'
import { json } from 'node:stream/consumers'
import { createLogger, dataPaths, unmount } from '../../common/index.ts'
import type { ContainerConfig } from '../../oci/index.ts'
import type { EngineHarness } from '../../runtime-shim/engines/contract-kit.ts'
import { type DockerEngineOptions, openDockerEngine } from '../../runtime-shim/engines/docker.ts'
import type { InstanceSpec } from '../../runtime-shim/engines/engine.ts'
import type { DockerChildOrders } from './docker-child.ts'
import type { TestDockerd } from './dockerd.ts'
import { abandonedDirectories, ownedDirectory } from './owned-directory.ts'
import { startTestRegistry, type TestRegistry } from './registry.ts'
import { makeTestImage, type TestImage } from './test-image.ts'

export interface DockerHarness extends EngineHarness {
  readonly options: DockerEngineOptions
  readonly registry: TestRegistry
  /** An image whose upper layer `fill` makes; pulled. */
  makeImage(fill: (directory: string) => void, config?: ContainerConfig): Promise<InstanceSpec['image']>
}

const PREFIX = 'slipway-docker-'

/** A data directory with the volumes that may still be mounted in it. */
function removeTree(root: string): void {
  for (const line of readFileSync('/proc/self/mountinfo', 'utf8').split('\n')) {
    const target = line.split(' ')[4] ?? ''
    if (target.startsWith(`${root}/`)) unmount(target)
  }
  rmSync(root, { recursive: true, force: true })
}

/** The Docker engine in a data directory of its own, with a registry of its own. */
export async function makeDockerHarness(
  dockerd: TestDockerd,
  settings: Partial<DockerEngineOptions> = {},
): Promise<DockerHarness> {
  for (const abandoned of abandonedDirectories(PREFIX)) removeTree(abandoned)
  const root = ownedDirectory(PREFIX)
  const paths = dataPaths(root)
  mkdirSync(paths.run, { recursive: true })
  const registry = await startTestRegistry()
  const repository = 'default/probe'
  const push = async (image: TestImage): Promise<InstanceSpec['image']> => {
    const digest = await registry.push(image, repository)
    return { registry: registry.address, repository, digest, config: image.config }
  }
  const options: DockerEngineOptions = {
    socketPath: dockerd.socketPath,
    hash: paths.hash,
    workDirectory: join(paths.run, 'sandbox'),
    log: createLogger('test'),
    ...settings,
  }
  const engine = await openDockerEngine(options)
  const opened = [engine]
  return {
    engine,
    options,
    registry,
    image: await push(await makeTestImage()),
    credential: { kind: 'anonymous' },
    makeImage: async (fill, config = {}) => {
      const image = await push(await makeTestImage({ extra: fill, scratch: root, config }))
      await engine.prepare({ ...image, credential: { kind: 'anonymous' }, deadlineMs: Date.now() + 60_000 })
      return image
    },
    instancesDirectory: paths.instances,
    reopen: async () => {
      const other = await openDockerEngine(options)
      opened.push(other)
      return other
    },
    createInKilledProcess: (spec) => killedChild(options, { spec, what: 'create' }),
    traces: (id) => traces(dockerd.socketPath, id),
    close: async () => {
      for (const id of await engine.strays()) await engine.sweep(id, join(paths.instances, id))
      for (const each of opened) await each.close()
      await registry.close()
      removeTree(root)
    },
  }
}

/** Runs test/helpers/docker-child.ts and kills it `lifeMs` after it said that it is ready. */
export function killedChild(
  engine: DockerEngineOptions,
  orders: Omit<DockerChildOrders, 'options'>,
  lifeMs = 0,
): Promise<void> {
  const child = spawn(process.execPath, [join(import.meta.dirname, 'docker-child.ts')], {
    stdio: ['pipe', 'pipe', 'inherit'],
  })
  const { log: _log, ...options } = engine
  child.stdin.end(JSON.stringify({ ...orders, options } satisfies DockerChildOrders))
  return new Promise((resolve, reject) => {
    child.stdout.once('data', () => setTimeout(() => child.kill('SIGKILL'), lifeMs))
    child.on('exit', (code, signal) => {
      if (signal === 'SIGKILL') resolve()
      else reject(new Error(`the child ended with ${code} ${signal}`))
    })
  })
}

/** Containers, networks, mounts and loop devices that carry the instance's id. */
async function traces(socketPath: string, id: string): Promise<string[]> {
  const containers = (await ask(socketPath, '/containers/json?all=1')) as { Names: string[] }[]
  const networks = (await ask(socketPath, '/networks')) as { Name: string }[]
  const mounts = readFileSync('/proc/self/mountinfo', 'utf8').split('\n')
  const loops = readdirSync('/sys/block').map((name) => readQuietly(`/sys/block/${name}/loop/backing_file`).trim())
  const names = [...containers.flatMap(({ Names }) => Names), ...networks.map(({ Name }) => Name), ...mounts, ...loops]
  return names.filter((name) => name.includes(id))
}

function ask(socketPath: string, path: string): Promise<unknown> {
  return new Promise((resolve, reject) => {
    get({ socketPath, path }, (response) => void json(response).then(resolve, reject)).on('error', reject)
  })
}

function readQuietly(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return ''
  }
}
