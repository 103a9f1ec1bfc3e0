import { join } from 'node:path'
import { execa } from 'execa'
import { freePort, Platform } from '../test/helpers/platform.ts'
import { bareServerOf, end, startBareServer } from './kit/bare.ts'
import { Caller, postRequest } from './kit/caller.ts'
import { callEvent, eventRequest, instancesOf, sourceOf } from './kit/functions.ts'
import type { LoadRequest, LoadResult } from './kit/load.ts'
import { startNginx } from './kit/nginx.ts'
import { CpuWatch, ourProcesses } from './kit/processes.ts'
import { median, quiet, runScenario } from './kit/scenario.ts'

// CPU of one forwarded event at 64 callers, the function's own not counted: all processes of the platform against the workers of an nginx
// in front of the same server.

const CONNECTIONS = 64
const WARM_UP_CALLS = 6_000
const CALLS = 8_000
const ROUNDS = 5
/** Two cores: the function must not be what calls wait for. */
const MEMORY_MB = 3072
const EVENT = { name: 'bench', items: [1, 2, 3, 4, 5, 6, 7, 8] }

const HANDLER = `exports.main_handler = async (event) => ({ hello: event.name, items: event.items.length })`

interface Side {
  name: string
  load: Omit<LoadRequest, 'calls'>
  pids: number[]
  microsecondsPerCall: number[]
  callsPerSecond: number[]
}

async function load(request: LoadRequest): Promise<LoadResult> {
  const generator = join(import.meta.dirname, 'kit/load.ts')
  const { stdout } = await execa(process.execPath, [generator], { input: JSON.stringify(request) })
  const result = JSON.parse(stdout) as LoadResult
  if (result.failed > 0) throw new Error(`${result.failed} of ${result.calls} calls failed`)
  return result
}

async function measure(side: Side): Promise<void> {
  await quiet()
  const cpu = new CpuWatch(side.pids)
  const { calls, durationMs } = await load({ ...side.load, calls: CALLS })
  side.microsecondsPerCall.push((cpu.elapsedMs() * 1_000) / calls)
  side.callsPerSecond.push((calls * 1_000) / durationMs)
}

function describe({ name, microsecondsPerCall, callsPerSecond }: Side): string {
  return `${name} ${median(microsecondsPerCall).toFixed(1)} µs (${median(callsPerSecond).toFixed(0)} calls/s)`
}

await runScenario(async (defer) => {
  const platform = await Platform.start('runc', { logLevel: 'info' })
  defer(() => platform.stop())
  const limits = ['--memory', String(MEMORY_MB), '--concurrency', String(CONNECTIONS), '--max-instances', '1']
  const source = sourceOf(defer, HANDLER)
  await platform.cli('deploy', source, '--name', 'forward', '--keep-alive', '3600', '--timeout', '30', ...limits)
  const request = eventRequest(platform, 'forward', EVENT)
  const caller = await Caller.open(platform.port)
  await callEvent(caller, request)
  caller.close()

  const instance = (await instancesOf(platform, 'forward'))[0]?.id ?? ''
  const [upstreamPort, proxyPort] = [await freePort(), await freePort()]
  const bare = await startBareServer(bareServerOf(platform, instance), upstreamPort)
  defer(() => end(bare))
  const workers = await startNginx(proxyPort, upstreamPort, defer)

  const bearer = { authorization: `Bearer ${platform.token}` }
  const toNginx = postRequest('/event-invoke', JSON.stringify(EVENT), bearer)
  const side = (name: string, port: number, bytes: Buffer, pids: number[]): Side => {
    const load = { port, request: bytes.toString('base64'), connections: CONNECTIONS }
    return { name, load, pids, microsecondsPerCall: [], callsPerSecond: [] }
  }
  const processes = await ourProcesses(platform)
  const ours = side(
    'ours',
    platform.port,
    request,
    processes.map(({ pid }) => pid),
  )
  const nginx = side('nginx', proxyPort, toNginx, workers)
  const sides = [ours, nginx]

  for (const { load: warm } of sides) await load({ ...warm, calls: WARM_UP_CALLS })
  for (let round = 0; round < ROUNDS; round += 1) for (const each of sides) await measure(each)
  const detail = `${sides.map(describe).join(', ')}; medians of ${ROUNDS} rounds of ${CALLS} calls at ${CONNECTIONS} callers`
  const value = median(ours.microsecondsPerCall) / median(nginx.microsecondsPerCall)
  return [{ name: 'forward-cpu', value, detail }]
})
