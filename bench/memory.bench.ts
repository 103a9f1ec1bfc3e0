import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { Platform } from '../test/helpers/platform.ts'
import { Caller } from './kit/caller.ts'
import { callEvent, eventRequest, instancesOf, sourceOf } from './kit/functions.ts'
import { ourProcesses, pssMb } from './kit/processes.ts'
import { type Row, runScenario, until } from './kit/scenario.ts'

// Memory of the platform's own processes with one idle instance and with many. Monitors, instances and the registry are told apart.

const INSTANCES = 100
const MEMORY_MB = 128
/** Copying of output and what else a call leaves behind is over by then. */
const SETTLE_MS = 5_000

/** Answers when it is told to be patient no longer: as many calls at once need as many instances. */
const HANDLER = `exports.main_handler = async (event) => {
  await new Promise((resolve) => setTimeout(resolve, event.waitMs))
  return null
}`

interface Figures {
  ours: Record<string, number>
  monitorsMb: number
  instancesMb: number
  registryMb: number
}

async function look(platform: Platform): Promise<Figures> {
  await sleep(SETTLE_MS)
  const directories = platform.instanceDirectories().map((id) => join(platform.dataDirectory, 'run/instances', id))
  const sum = (file: string): number =>
    directories.reduce((total, path) => total + pssMb(Number(readFileSync(join(path, file), 'utf8'))), 0)
  const registry = platform.state()?.registry?.pid
  const ours = (await ourProcesses(platform)).map(({ role, pid }): [string, number] => [role, pssMb(pid)])
  return {
    ours: Object.fromEntries(ours),
    monitorsMb: sum('monitor.pid'),
    instancesMb: sum('pid'),
    registryMb: registry === undefined ? 0 : pssMb(registry),
  }
}

function sumMb(mb: Record<string, number>): number {
  return Object.values(mb).reduce((total, each) => total + each, 0)
}

/** Without the content worker, which ends when it has nothing to do. */
function lastingMb({ ours }: Figures): number {
  return sumMb(ours) - (ours['worker'] ?? 0)
}

function describe({ ours, monitorsMb, instancesMb, registryMb }: Figures): string {
  const list = Object.entries({ ...ours, monitors: monitorsMb, instances: instancesMb, registry: registryMb })
  return list.map(([name, mb]) => `${name} ${mb.toFixed(1)}`).join(', ')
}

await runScenario(async (defer): Promise<Row[]> => {
  const limits = ['--memory', String(MEMORY_MB), '--max-instances', String(INSTANCES), '--concurrency', '1']
  const platform = await Platform.start('runc', { logLevel: 'info' })
  defer(() => platform.stop())
  // It is pulled at the first call, so that the content worker counts.
  const source = sourceOf(defer, HANDLER)
  await platform.cli('deploy', source, '--name', 'idle', '--keep-alive', '3600', '--timeout', '120', ...limits)

  const first = await Caller.open(platform.port)
  await callEvent(first, eventRequest(platform, 'idle', { waitMs: 0 }))
  const one = await look(platform)

  const callers = await Promise.all(Array.from({ length: INSTANCES }, () => Caller.open(platform.port)))
  const request = eventRequest(platform, 'idle', { waitMs: 30_000 })
  await Promise.all(callers.map((caller) => callEvent(caller, request)))
  for (const caller of [first, ...callers]) caller.close()
  await until('all instances idle', async () => {
    const instances = await instancesOf(platform, 'idle')
    return instances.length === INSTANCES && instances.every(({ state }) => state === 'ready')
  })
  const many = await look(platform)

  const growthMb = lastingMb(many) - lastingMb(one)
  return [
    { name: 'memory-one', value: sumMb(one.ours), detail: `PSS with 1 idle instance, MB: ${describe(one)}` },
    {
      name: 'memory-each',
      value: growthMb / (INSTANCES - 1),
      detail: `${growthMb.toFixed(1)} MB more with ${INSTANCES}: ${describe(many)}`,
    },
  ]
})
