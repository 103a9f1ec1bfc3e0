import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { ContentHarness } from '../helpers/content-harness.ts'
import { type MadeImage, makeImage } from '../helpers/made-image.ts'
import { requireProgram } from '../helpers/programs.ts'
import { directory, file, hardLink, makeTar } from '../helpers/tar-maker.ts'

const canRun = requireProgram('setpriv', 'nice')
const SEED = Number(process.env['SLIPWAY_TEST_SEED'] ?? 20_261_121)
const POINTS = 5
/** As long as the image takes to unpack here, and a little more. */
const WINDOW_MS = 350

/** Park and Miller's generator: the same points on every run with the same seed. */
function randomNumbers(seed: number): () => number {
  let state = seed % 2_147_483_647
  return () => {
    state = (state * 48_271) % 2_147_483_647
    return state / 2_147_483_647
  }
}

/** Four layers, three of them of 400 files, the last with whiteouts and links into lower ones, so that composing has work to do as well. */
function busyImage(): MadeImage {
  const layers = ['a', 'b', 'c'].map((name) =>
    makeTar([
      directory('./'),
      directory(`${name}/`),
      ...Array.from({ length: 400 }, (_, index) => file(`${name}/f${index}`, `${name}${index}`.repeat(200))),
    ]),
  )
  const top = [file('a/.wh.f1'), file('b/new', 'n'), hardLink('linked', 'c/f7')]
  return makeImage([...layers, makeTar(top)])
}

/** Processes that work on `path`. */
function workersOn(path: string): number[] {
  return readdirSync('/proc').flatMap((pid) => {
    if (!/^[0-9]+$/.test(pid)) return []
    try {
      const command = readFileSync(`/proc/${pid}/cmdline`, 'utf8')
      return command.includes('worker-main.ts') && command.includes(path) ? [Number(pid)] : []
    } catch {
      return []
    }
  })
}

describe.skipIf(!canRun)(`a crash at any instant (seed ${SEED})`, { timeout: 120_000 }, () => {
  const image = busyImage()
  const random = randomNumbers(SEED)
  let reference: Map<string, string>
  let harness: ContentHarness

  beforeEach(async () => {
    harness = new ContentHarness()
    await harness.start()
    reference ??= await wholeLayers()
  })
  afterEach(() => harness.close())

  async function wholeLayers(): Promise<Map<string, string>> {
    const whole = new ContentHarness()
    await whole.start()
    await whole.pull(await whole.open(), image)
    const hashes = whole.layerHashes()
    await whole.close()
    return hashes
  }

  /** Calls `strike` a random time after the first layer was asked for. */
  function armed(strike: () => void): { hit: Promise<number> } {
    const afterMs = random() * WINDOW_MS
    const { promise, resolve } = Promise.withResolvers<number>()
    let isArmed = true
    harness.server.intercept = () => {
      if (isArmed) {
        setTimeout(() => {
          strike()
          resolve(afterMs)
        }, afterMs)
      }
      isArmed = false
      return false
    }
    return { hit: promise }
  }

  function expectOnlyWholeLayers(): number {
    const visible = harness.layerHashes()
    for (const [name, hash] of visible) expect([name, hash]).toEqual([name, reference.get(name)])
    return visible.size
  }

  async function expectRetryToSucceed(): Promise<void> {
    harness.server.intercept = () => false
    const store = await harness.open()
    const { image: local } = await harness.pull(store, image)
    expect(harness.layerHashes()).toEqual(reference)
    expect(local.layerDirectories.length).toBeGreaterThanOrEqual(4)
    const own = readdirSync(join(harness.directory, 'work')).filter((name) => name.startsWith(`${store.workerPid()}-`))
    const unfinished = readdirSync(join(harness.directory, 'work')).flatMap((name) =>
      readdirSync(join(harness.directory, 'work', name)),
    )
    expect([own.length <= 1, unfinished, readdirSync(join(harness.directory, 'pulls'))]).toEqual([true, [], []])
    expect(readdirSync(join(harness.directory, 'trash'))).toEqual([])
  }

  test.each(Array.from({ length: POINTS }, (_, index) => index))(
    'of the store’s process leaves whole layers only (%i)',
    async () => {
      const child = harness.spawnPull(image)
      const ended = new Promise((resolve) => child.once('exit', resolve))
      const { hit } = armed(() => child.kill('SIGKILL'))
      const afterMs = await hit
      await ended
      await expect
        .poll(() => workersOn(harness.directory), { timeout: 10_000, message: `killed after ${afterMs} ms` })
        .toEqual([])
      expectOnlyWholeLayers()
      await expectRetryToSucceed()
    },
  )

  test.each(Array.from({ length: POINTS }, (_, index) => index))(
    'of the worker is not noticed by who waits (%i)',
    async () => {
      const store = await harness.open()
      const { hit } = armed(() => {
        const pid = store.workerPid()
        if (pid !== undefined) process.kill(pid, 'SIGKILL')
      })
      const pulling = harness.pull(store, image)
      await hit
      expectOnlyWholeLayers()
      expect((await pulling).pulled).toBe(true)
      expect(harness.layerHashes()).toEqual(reference)
    },
  )

  test('two processes that pull one image at once both succeed, and each layer is there once', async () => {
    const children = [harness.spawnPull(image), harness.spawnPull(image)]
    const codes = await Promise.all(children.map((child) => new Promise((resolve) => child.once('exit', resolve))))
    expect(codes).toEqual([0, 0])
    expect(harness.layerHashes()).toEqual(reference)
    const store = await harness.open()
    expect((await harness.pull(store, image)).pulled).toBe(false)
  })
})
