import { spawn } from 'node:child_process'
import { rmSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { ContractKit, listening } from '../../runtime-shim/engines/contract-kit.ts'
import type { InstanceSpec } from '../../runtime-shim/engines/engine.ts'
import { requireProgram } from '../helpers/programs.ts'
import { makeRuncHarness, type RuncHarness } from '../helpers/runc-harness.ts'

/** mulberry32: a generator with a seed, so that a failure can be repeated. */
function random(seed: number): () => number {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let t = Math.imul(state ^ (state >>> 15), 1 | state)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32
  }
}

const SEED = Number(process.env['SLIPWAY_SEED'] ?? Date.now() % 1_000_000)

describe.skipIf(!requireProgram('runc', 'conmon', 'mkfs.ext4'))(
  'a process that makes instances, killed with SIGKILL',
  () => {
    let harness: RuncHarness
    let kit: ContractKit
    beforeAll(async () => {
      harness = await makeRuncHarness()
      kit = new ContractKit(harness)
      const warm = await kit.start() // makes the template of the volume
      await warm.remove()
    })
    afterAll(async () => {
      await kit?.cleanUp()
      await harness?.close()
    })

    it(`at 12 random moments of creations leaves instances that run or traces that a sweep removes (seed ${SEED})`, async () => {
      const next = random(SEED)
      const outcomes = { adopted: 0, swept: 0 }
      for (let round = 0; round < 12; round += 1) {
        const delayMs = next() * 110
        const spec = kit.spec()
        await killedAfter(harness.root, spec, delayMs)
        const engine = await harness.reopen()
        const adopted = await engine.adopt(spec)
        const label = `seed ${SEED} round ${round} killed after ${delayMs.toFixed(1)} ms`
        if (adopted === undefined) {
          outcomes.swept += 1
          await engine.sweep(spec.id, spec.directory)
        } else {
          outcomes.adopted += 1
          await adopted.start().catch(() => undefined) // it may have been started already
          await listening(adopted)
          await adopted.remove()
        }
        await sleep(20)
        expect(await harness.traces(spec.id), label).toEqual([])
        expect(await engine.strays(), label).toEqual([])
        rmSync(spec.directory, { recursive: true })
      }
      console.log('killed at random moments:', outcomes)
    })
  },
)

/** Lets a process create the instance and kills it `delayMs` after it began. */
async function killedAfter(root: string, spec: InstanceSpec, delayMs: number): Promise<void> {
  const child = spawn(process.execPath, [join(import.meta.dirname, '../helpers/runc-child.ts'), root], {
    stdio: ['pipe', 'pipe', 'inherit'],
  })
  child.stdin.end(JSON.stringify(spec))
  const gone = new Promise((resolve) => child.once('exit', resolve))
  await new Promise((resolve) => child.stdout.once('data', resolve)) // it begins
  await sleep(delayMs)
  child.kill('SIGKILL')
  await gone
}
