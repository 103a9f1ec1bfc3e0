import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { engineContract } from '../../runtime-shim/engines/contract.ts'
import { ContractKit } from '../../runtime-shim/engines/contract-kit.ts'
import { chooseRuntime, type OciRuntime } from '../../sandbox/index.ts'
import { requireProgram } from '../helpers/programs.ts'
import { makeRuncHarness, type RuncHarness } from '../helpers/runc-harness.ts'

const MiB = 1024 * 1024

describe.skipIf(!requireProgram('runc', 'conmon', 'mkfs.ext4'))('with runc', () => {
  engineContract('runc', () => makeRuncHarness({ pulls: true }))
  waitingSandboxes()
  imagesWithLinks()
})

const crun = await usableCrun()
describe.skipIf(crun === undefined)('with crun', () => {
  engineContract('crun', () => makeRuncHarness(crun === undefined ? {} : { runtime: crun }))
})

/** Pids of processes with this argument. */
function processesWith(argument: string): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .filter((pid) => readQuietly(`/proc/${pid}/cmdline`).split('\0').includes(argument))
    .map(Number)
}

function readQuietly(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return ''
  }
}

async function usableCrun(): Promise<OciRuntime | undefined> {
  const scratch = mkdtempSync(join(tmpdir(), 'slipway-choose-'))
  try {
    const { runtime, reason } = await chooseRuntime('auto', 'c0ffee00', scratch)
    if (runtime.name === 'crun') return runtime
    console.warn(`the suite runs with runc only: ${reason}`)
    return undefined
  } catch {
    return undefined // no runtime at all: said above
  } finally {
    rmSync(scratch, { recursive: true })
  }
}

function waitingSandboxes(): void {
  describe('sandboxes that wait', () => {
    let harness: RuncHarness
    let kit: ContractKit
    beforeAll(async () => {
      harness = await makeRuncHarness({ waitingSandboxes: 2, waitingTmpBytes: 64 * MiB })
      kit = new ContractKit(harness)
      await harness.engine.sandboxesReady()
    })
    afterEach(() => kit.cleanUp())
    afterAll(() => harness?.close())

    it('are taken by the instance whose id was reserved, and replaced', async () => {
      const id = harness.engine.reserveId()
      expect(existsSync(join(harness.instancesDirectory, id, 'netns'))).toBe(true)
      const probe = await kit.probe({ id })
      expect(await probe.eval('return fs.statfsSync("/tmp").blocks * fs.statfsSync("/tmp").bsize')).toBeLessThan(
        64 * MiB,
      )
      await harness.engine.sandboxesReady()
      expect(readdirSync(harness.instancesDirectory)).toHaveLength(3)
    })

    it('are replaced by themselves, as soon as one is taken', async () => {
      await harness.engine.sandboxesReady()
      await kit.create({ id: harness.engine.reserveId() })
      await expect.poll(() => readdirSync(harness.instancesDirectory), { timeout: 10_000 }).toHaveLength(3)
    })

    it('have a monitor that waits with them, and do without where it was killed', async () => {
      await harness.engine.sandboxesReady()
      const id = harness.engine.reserveId()
      const bundle = join(harness.instancesDirectory, id, 'bundle')
      const [monitor, ...others] = processesWith(bundle)
      expect(others).toEqual([])
      process.kill(monitor ?? 0, 'SIGKILL')
      await expect.poll(() => processesWith(bundle)).toEqual([])
      const probe = await kit.probe({ id })
      expect(await probe.eval('return process.pid')).toBe(1)
    })

    it('give way to a volume of another size where the instance wants one', async () => {
      await harness.engine.sandboxesReady()
      const probe = await kit.probe({ id: harness.engine.reserveId(), tmpBytes: 128 * MiB })
      const bytes = await probe.eval('return fs.statfsSync("/tmp").blocks * fs.statfsSync("/tmp").bsize')
      expect(bytes).toBeGreaterThan(100 * MiB)
    })

    it('are never handed out twice, and none waiting means a new id', async () => {
      await harness.engine.sandboxesReady()
      const ids = Array.from({ length: 6 }, () => harness.engine.reserveId())
      expect(new Set(ids).size).toBe(6)
      for (const id of ids) {
        await harness.engine.sweep(id, join(harness.instancesDirectory, id))
        rmSync(join(harness.instancesDirectory, id), { recursive: true, force: true })
      }
    })

    it('of a killed engine are strays to the next one, which removes them', async () => {
      await harness.engine.sandboxesReady()
      const waiting = readdirSync(harness.instancesDirectory)
      const other = await harness.reopen()
      expect(waiting.length).toBeGreaterThan(0)
      expect((await other.strays()).sort()).toEqual(waiting.sort())
      expect(await harness.engine.strays()).toEqual([])
    })
  })
}

function imagesWithLinks(): void {
  describe('an image with links where its mounts go', () => {
    let harness: RuncHarness
    let kit: ContractKit
    beforeAll(async () => {
      harness = await makeRuncHarness()
      kit = new ContractKit(harness)
    })
    afterEach(() => kit.cleanUp())
    afterAll(() => harness?.close())

    it('starts all the same, with files and directories in their place', async () => {
      const image = await harness.makeImage((directory) => {
        mkdirSync(join(directory, 'etc'))
        symlinkSync('../run/resolv.conf', join(directory, 'etc/resolv.conf'))
        for (const name of ['tmp', 'dev']) symlinkSync('/nowhere', join(directory, name))
      })
      const probe = await kit.probe({ image, hostname: 'linked' })
      expect(await probe.eval(`return fs.readFileSync('/etc/hostname', 'utf8')`)).toBe('linked\n')
      expect(await probe.eval(`return fs.lstatSync('/etc/resolv.conf').isFile()`)).toBe(true)
      expect(await probe.failure(`fs.writeFileSync('/tmp/x', 'x')`)).toBe('none')
      expect(await probe.eval(`return fs.readFileSync('/etc/passwd', 'utf8').includes('probe')`)).toBe(true)
    })

    it('names users through a link that stays inside', async () => {
      const image = await harness.makeImage(
        (directory) => {
          mkdirSync(join(directory, 'etc'))
          symlinkSync('/etc/group', join(directory, 'etc/passwd'))
        },
        { User: 'extra' },
      )
      await expect(kit.start({ image })).rejects.toThrow('unable to find user extra')
    })
  })
}
