import { setTimeout as sleep } from 'node:timers/promises'
import { Platform } from '../test/helpers/platform.ts'
import { Caller } from './kit/caller.ts'
import { callEvent, eventRequest, sourceOf } from './kit/functions.ts'
import { median, quiet, type Row, runScenario } from './kit/scenario.ts'

// How long after its deadline a call is answered 433, and how long its work goes on: it says the time every two milliseconds.

const CALLS = 15
const TIMEOUT_MS = 1_000
const SETTLE_MS = 700

const HANDLER = `exports.main_handler = (event) => {
  if (!event.work) return null
  console.log('began', Date.now())
  setInterval(() => console.log('works', Date.now()), 2)
  return new Promise(() => undefined)
}`

await runScenario(async (defer) => {
  const platform = await Platform.start('runc', { logLevel: 'info' })
  defer(() => platform.stop())
  const limits = ['--memory', '1280', '--timeout', String(TIMEOUT_MS / 1_000)]
  await platform.cli('deploy', sourceOf(defer, HANDLER), '--name', 'late', ...limits)
  const caller = await Caller.open(platform.port)
  defer(() => caller.close())
  const answeredMs: number[] = []
  const deadMs: number[] = []
  for (let n = 0; n < CALLS; n += 1) {
    await callEvent(caller, eventRequest(platform, 'late', {}))
    await quiet()
    const began = Date.now()
    const { status, body } = await caller.call(eventRequest(platform, 'late', { work: true }))
    answeredMs.push(Date.now() - began - TIMEOUT_MS)
    if (status !== 504) throw new Error(`answered ${status}: ${body}`)
    await sleep(SETTLE_MS)
    const { requestId } = JSON.parse(body) as { requestId: string }
    const { stdout } = await platform.run('logs', 'late', '--request-id', requestId)
    const times = [...stdout.matchAll(/(?:works|began) (\d+)/g)].map(([, time]) => Number(time))
    deadMs.push(Math.max(...times) - Math.min(...times) - TIMEOUT_MS)
  }
  return [row('deadline-433', answeredMs), row('deadline-dead', deadMs)]
})

/** The slowest but one of the calls: one of fifteen may meet somebody else's work on a shared machine. */
function row(name: string, values: readonly number[]): Row {
  const sorted = values.toSorted((a, b) => a - b)
  const detail = `${values.length} calls, median ${median(values).toFixed(0)} ms, slowest ${sorted.at(-1)?.toFixed(0)} ms`
  return { name, value: sorted.at(-2) ?? Number.NaN, detail }
}
