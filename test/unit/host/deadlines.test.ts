import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { createLogger, machineMs } from '../../../common/index.ts'
import { Deadlines } from '../../../runtime-shim/host/deadlines.ts'
import { LeaseWatch } from '../../../runtime-shim/host/lease-watch.ts'
import { LeaseFile } from '../../../runtime-shim/instances/lease-file.ts'

const logger = createLogger('test')
logger.level = 'silent'
const INSTANCE = '0123456789abcdef'

let run: string
let leases: LeaseWatch
let deadlines: Deadlines
let stopped: string[]
let finish: () => void
beforeEach(() => {
  run = mkdtempSync(join(tmpdir(), 'slipway-leases-'))
  leases = new LeaseWatch(run)
  stopped = []
  const stop = (instance: string): Promise<void> => {
    stopped.push(instance)
    return new Promise((resolve) => {
      finish = resolve
    })
  }
  deadlines = new Deadlines({ leases, logger, stop, endOutOfMemory: async () => undefined })
  // Only what the test asks for is looked at.
  deadlines.close()
})
afterEach(() => {
  vi.useRealTimers()
  rmSync(run, { recursive: true, force: true })
})

/** A server's file with one call that may run for `ms`. */
function openLease(ms: number): string {
  const path = leases.create(1, process.getuid?.() ?? 0, process.getgid?.() ?? 0)
  new LeaseFile(path).open({ instance: INSTANCE, deadlineMs: Date.now() + ms })
  return path
}

describe('deadlines of calls', () => {
  it.each([
    ['forwards', 3_600_000],
    ['backwards', -3_600_000],
  ])('hold when the clock of the machine is set %s', (_way, stepMs) => {
    openLease(5_000)
    vi.useFakeTimers({ toFake: ['Date'], now: Date.now() + stepMs })
    deadlines.look(machineMs())
    expect(stopped).toEqual([])
    deadlines.look(machineMs() + 6_500)
    expect(stopped).toEqual([INSTANCE])
  })

  it('end an instance once, however long that takes, and again where it has failed', async () => {
    openLease(0)
    const late = machineMs() + 2_000
    for (let look = 0; look < 5; look += 1) deadlines.look(late)
    expect(stopped).toHaveLength(1)
    finish()
    await new Promise((resolve) => setImmediate(resolve))
    deadlines.look(late)
    expect(stopped).toHaveLength(2)
  })

  it('of an earlier boot of the machine are nobody’s', () => {
    const path = openLease(3_600_000)
    const next = new LeaseWatch(run)
    expect(next.read(machineMs()).orphaned).toHaveLength(1)
    const bytes = readFileSync(path)
    bytes.write('00000000-0000-4000-8000-000000000000', 16, 'latin1')
    writeFileSync(path, bytes)
    expect(next.read(machineMs()).orphaned).toEqual([])
    next.forgetDead(() => true, machineMs())
    expect(next.generations()).toEqual([])
  })
})
