import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { execa } from 'execa'
import { Platform } from '../test/helpers/platform.ts'
import { Caller } from './kit/caller.ts'
import { callEvent, eventRequest, sourceOf } from './kit/functions.ts'
import type { LoadRequest, LoadResult } from './kit/load.ts'
import { median, quiet, runScenario } from './kit/scenario.ts'

// What starts of other functions cost one that is warm: p99 of 200 calls a second to it, alone and while 10 instances a second start.

const CALLS_PER_SECOND = 200
const SECONDS = 8
const CONNECTIONS = 16
const STARTS_PER_SECOND = 10
const ROUNDS = 3
const OTHERS = 8

const WARM = 'exports.main_handler = async (event) => ({ hello: event.name })'
/** Each call needs an instance of its own: it ends after its answer, and well before the function's turn comes again. */
const ONCE = 'exports.main_handler = async () => { setTimeout(() => process.exit(0), 200); return null }'

async function p99(load: LoadRequest): Promise<number> {
  await quiet()
  const { stdout } = await execa(process.execPath, [join(import.meta.dirname, 'kit/load.ts')], {
    input: JSON.stringify(load),
  })
  const { failed, p99Ms } = JSON.parse(stdout) as LoadResult
  if (failed > 0) throw new Error(`${failed} calls failed`)
  return p99Ms
}

/** Starts instances until the returned function is called, which answers how many started in each second. */
function startOthers(platform: Platform, requests: Buffer[]): () => Promise<number> {
  const beganMs = performance.now()
  let started = 0
  let over = false
  const one = async (request: Buffer): Promise<void> => {
    const caller = await Caller.open(platform.port)
    try {
      const { coldStart } = await callEvent(caller, request)
      if (coldStart !== null) started += 1
    } catch (thrown) {
      // An instance that has not ended yet took the call: no start, which is what counts here.
      if (!String(thrown).includes('was answered 502')) throw thrown
    } finally {
      caller.close()
    }
  }
  const loop = (async () => {
    const calls: Promise<void>[] = []
    for (let n = 0; !over; n += 1) {
      calls.push(one(requests[n % OTHERS] ?? Buffer.of()))
      // Told below, where all are waited for: not before, as a rejection that nobody handles would end this process with nothing undone.
      calls.at(-1)?.catch(() => undefined)
      // Not made up for when late: a function's turn must not come before its last instance has ended.
      await sleep(1_000 / STARTS_PER_SECOND)
    }
    await Promise.all(calls)
  })()
  loop.catch(() => undefined)
  return async () => {
    over = true
    const seconds = (performance.now() - beganMs) / 1_000
    await loop
    return started / seconds
  }
}

await runScenario(async (defer) => {
  const platform = await Platform.start('runc', { logLevel: 'info' })
  defer(() => platform.stop())
  await platform.cli('namespace', 'create', 'default', '--starts-per-minute', '100000')
  const warm = ['--memory', '3072', '--concurrency', '16', '--max-instances', '1', '--keep-alive', '3600']
  await platform.cli('deploy', sourceOf(defer, WARM), '--name', 'warm', '--timeout', '30', ...warm)
  const others = Array.from({ length: OTHERS }, (_, n) => `once-${n}`)
  const source = sourceOf(defer, ONCE)
  for (const name of others) await platform.cli('deploy', source, '--name', name, '--timeout', '30', '--memory', '1280')
  const request = eventRequest(platform, 'warm', { name: 'bench' })
  const once = others.map((name) => eventRequest(platform, name, {}))
  for (const each of [request, ...once]) {
    const caller = await Caller.open(platform.port)
    await callEvent(caller, each)
    caller.close()
  }
  const load: LoadRequest = {
    port: platform.port,
    request: request.toString('base64'),
    connections: CONNECTIONS,
    calls: CALLS_PER_SECOND * SECONDS,
    callsPerSecond: CALLS_PER_SECOND,
  }
  await p99(load)
  const alone: number[] = []
  const beside: number[] = []
  const rates: number[] = []
  for (let round = 0; round < ROUNDS; round += 1) {
    alone.push(await p99(load))
    const stop = startOthers(platform, once)
    beside.push(await p99(load))
    rates.push(await stop())
  }
  const detail = `p99 ${median(alone).toFixed(1)} ms alone, ${median(beside).toFixed(1)} ms beside ${median(rates).toFixed(1)} starts a second; ${ROUNDS} rounds of ${SECONDS} s`
  return [{ name: 'neighbour-p99', value: median(beside) / median(alone), detail }]
})
