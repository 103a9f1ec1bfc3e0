import { readFileSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { setTimeout as sleep } from 'node:timers/promises'

/** What a scenario found: `name` is a key of budgets.json, which says what is promised of `value`. */
export interface Row {
  name: string
  value: number
  /** How the value came about: the figures behind the ratio, with units and counts. */
  detail: string
}

/** Registers what must be undone, as soon as it is done. */
export type Defer = (undo: () => unknown) => void

const UNDO_TIMEOUT_MS = 60_000

/**
 * Runs a scenario as this process and prints its rows. Whatever it started ends, latest first, also when it fails or is interrupted;
 * the exit code is 1 then.
 */
export async function runScenario(scenario: (defer: Defer) => Promise<Row[]>): Promise<never> {
  const undos: (() => unknown)[] = []
  const interrupted = new Promise<never>((_resolve, reject) => {
    for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => reject(new Error(signal)))
  })
  let exitCode = 0
  try {
    const rows = await Promise.race([scenario((undo) => undos.push(undo)), interrupted])
    for (const row of rows) console.log(JSON.stringify(row))
  } catch (thrown) {
    exitCode = 1
    console.error(thrown)
  }
  for (const undo of undos.toReversed()) {
    try {
      await withTimeout(Promise.resolve(undo()))
    } catch (thrown) {
      exitCode = 1
      console.error('clean-up failed:', thrown)
    }
  }
  process.exit(exitCode)
}

async function withTimeout(work: Promise<unknown>): Promise<void> {
  const { promise, reject } = Promise.withResolvers<never>()
  const timer = setTimeout(() => reject(new Error(`not done after ${UNDO_TIMEOUT_MS} ms`)), UNDO_TIMEOUT_MS)
  try {
    await Promise.race([work, promise])
  } finally {
    clearTimeout(timer)
  }
}

export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b)
  const middle = sorted.length / 2
  const upper = sorted[Math.floor(middle)]
  const lower = sorted[Math.ceil(middle) - 1]
  if (upper === undefined || lower === undefined) throw new RangeError('no values')
  return (lower + upper) / 2
}

/** Polls until `read` answers something; throws after `timeoutMs`, naming what was waited for. */
export async function until<T>(what: string, read: () => T | Promise<T>, timeoutMs = 60_000): Promise<NonNullable<T>> {
  const untilMs = performance.now() + timeoutMs
  for (;;) {
    const found = await read()
    if (found !== undefined && found !== null && found !== false) return found
    if (performance.now() > untilMs) throw new Error(`${what}: not within ${timeoutMs} ms`)
    await sleep(20)
  }
}

const QUIET_WINDOW_MS = 150
const QUIET_BUSY_CORES = 0.25
const QUIET_PATIENCE_MS = 5_000

/** Waits for a moment in which hardly anything else runs on this machine, but not for long: a figure on a busy machine is better than none. */
export async function quiet(): Promise<void> {
  const untilMs = performance.now() + QUIET_PATIENCE_MS
  while (performance.now() < untilMs) {
    const began = idleTicks()
    const beganMs = performance.now()
    await sleep(QUIET_WINDOW_MS)
    const idleCores = ((idleTicks() - began) * TICK_MS) / (performance.now() - beganMs)
    if (availableParallelism() - idleCores <= QUIET_BUSY_CORES) return
  }
}

/** USER_HZ is 100 on every architecture that Linux still runs on. */
export const TICK_MS = 10

/** proc(5), `stat`: fields 4 and 5 are idle and waiting for input or output. */
function idleTicks(): number {
  const [, , , , idle = '0', waiting = '0'] = readFileSync('/proc/stat', 'utf8').split('\n', 1)[0]?.split(/ +/) ?? []
  return Number(idle) + Number(waiting)
}
