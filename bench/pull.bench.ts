import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { execa } from 'execa'
import { createLogger } from '../common/index.ts'
import { openContentStore } from '../content/index.ts'
import type { Digest } from '../oci/index.ts'
import { startTestDockerd } from '../test/helpers/dockerd.ts'
import { startTestRegistry } from '../test/helpers/registry.ts'
import { BenchDisk } from './kit/bench-disk.ts'
import { makeBenchImage, pushBenchImage } from './kit/pull-image.ts'
import { measureParts, type PullParts } from './kit/pull-parts.ts'
import { type Defer, median, quiet, type Row, runScenario } from './kit/scenario.ts'

// An image that is not local becomes local: 600 MB, 25,000 files, 5 gzip layers, registry on loopback, every data root on a fresh journaled ext4
// in memory. Docker's daemon and our content worker run already.

const ROUNDS = Number(process.env['BENCH_ROUNDS'] ?? 3)

interface Source {
  registry: string
  repository: string
  digest: Digest
}
type Parts = PullParts & { write: number }

async function ourPullMs(source: Source, defer: Defer): Promise<number> {
  const disk = await BenchDisk.make(defer)
  const store = await openContentStore(join(disk.root, 'content'), { logger: createLogger('bench') })
  defer(() => store.close())
  await store.collect({ maxBytes: Number.MAX_SAFE_INTEGER, minAgeMs: 0 }) // starts the worker: dockerd runs already, too
  await quiet()
  const startedMs = performance.now()
  await store.pull({ ...source, credential: { kind: 'anonymous' }, deadlineMs: Date.now() + 300_000 })
  const elapsedMs = performance.now() - startedMs
  await store.close()
  await disk.remove()
  return elapsedMs
}

async function dockerPullMs(source: Source, defer: Defer): Promise<number> {
  const disk = await BenchDisk.make(defer)
  const before = process.env['TMPDIR']
  process.env['TMPDIR'] = disk.root
  const dockerd = await startTestDockerd({ own: true })
  defer(() => dockerd.close())
  if (before === undefined) delete process.env['TMPDIR']
  else process.env['TMPDIR'] = before
  await quiet()
  const env = { DOCKER_HOST: `unix://${dockerd.socketPath}`, DOCKER_CONFIG: disk.root }
  const startedMs = performance.now()
  await execa('docker', ['pull', '--quiet', `${source.registry}/${source.repository}@${source.digest}`], { env })
  const elapsedMs = performance.now() - startedMs
  await dockerd.close()
  await disk.remove()
  return elapsedMs
}

/** Each part of the work by itself, on one core. */
async function partsMs(source: Source, directory: string, urls: string[], tars: number, defer: Defer): Promise<Parts> {
  const disk = await BenchDisk.make(defer)
  await quiet()
  const command = [process.execPath, import.meta.filename, 'parts', directory, ...urls]
  const { stdout } = await execa('taskset', ['--cpu-list', '0', ...command])
  const startedMs = performance.now()
  for (let layer = 0; layer < tars; layer += 1) {
    const target = join(disk.root, String(layer))
    mkdirSync(target)
    await execa('taskset', ['--cpu-list', '0', 'tar', '-x', '-p', '-f', join(directory, `${layer}.tar`), '-C', target])
  }
  const write = performance.now() - startedMs
  await disk.remove()
  return { ...(JSON.parse(stdout) as PullParts), write }
}

const [mode, directory = '', ...urls] = process.argv.slice(2)
if (mode === 'parts') console.log(JSON.stringify(await measureParts(directory, urls)))
else await runScenario(scenario)

async function scenario(defer: Defer): Promise<Row[]> {
  const scratch = mkdtempSync('/dev/shm/slipway-bench-')
  defer(() => rmSync(scratch, { recursive: true, force: true }))
  process.env['TMPDIR'] = scratch
  const registry = await startTestRegistry()
  defer(() => registry.close())
  const image = await makeBenchImage()
  const digest = await pushBenchImage(image, registry.address, 'bench/pull')
  for (const [layer, tar] of image.tars.entries()) writeFileSync(join(scratch, `${layer}.tar`), tar)
  for (const [layer, blob] of image.blobs.entries()) writeFileSync(join(scratch, `${layer}.gz`), blob)
  const urls = image.layers.map((layer) => `http://${registry.address}/v2/bench/pull/blobs/${layer.digest}`)
  const source = { registry: registry.address, repository: 'bench/pull', digest }
  const ours: number[] = []
  const docker: number[] = []
  const parts: Parts[] = []
  for (let round = 0; round < ROUNDS; round += 1) {
    ours.push(await ourPullMs(source, defer))
    docker.push(await dockerPullMs(source, defer))
    parts.push(await partsMs(source, scratch, urls, image.tars.length, defer))
  }
  return rowsOf(ours, docker, parts)
}

function rowsOf(ours: number[], docker: number[], parts: Parts[]): Row[] {
  const seconds = (ms: number): string => `${(ms / 1000).toFixed(2)} s`
  const names = ['fetch', 'hash', 'gunzip', 'write'] as const
  const each = names.map((name) => `${name} ${seconds(median(parts.map((round) => round[name])))}`).join(' + ')
  const sumMs = median(parts.map((round) => names.reduce((sum, name) => sum + round[name], 0)))
  const own = seconds(median(ours))
  const count = `medians, n = ${ours.length}`
  return [
    {
      name: 'pull-docker',
      value: median(docker) / median(ours),
      detail: `docker pull ${seconds(median(docker))} / ours ${own}, ${count}`,
    },
    { name: 'pull-sum', value: median(ours) / sumMs, detail: `ours ${own} / ${seconds(sumMs)} (${each}), ${count}` },
  ]
}
