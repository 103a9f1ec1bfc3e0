import { execFileSync } from 'node:child_process'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import {
  ContractKit,
  dialKind,
  listening,
  outputRecords,
  outputUntil,
  streamText,
  within,
} from '../../runtime-shim/engines/contract-kit.ts'
import { detectDocker, openDockerEngine } from '../../runtime-shim/engines/docker.ts'
import { connectDocker } from '../../runtime-shim/engines/docker-api.ts'
import type { EngineInstance } from '../../runtime-shim/engines/engine.ts'
import { type DockerHarness, killedChild, makeDockerHarness } from '../helpers/docker-harness.ts'
import { requireDocker, startTestDockerd, type TestDockerd } from '../helpers/dockerd.ts'

/** Numbered lines on both streams, every tenth of `longBytes`, in bursts, until it has written `count` on each. */
const WRITER = (count: number, pauseMs: number, longBytes = 40_000): string => `
  const fs = require('fs')
  const put = (fd, text) => { const b = Buffer.from(text); for (let o = 0; o < b.length;) o += fs.writeSync(fd, b, o) }
  let i = 0
  const burst = () => {
    for (let n = 0; n < 50 && i < ${count}; n++, i++) {
      put(1, i + (i % 10 ? '' : 'x'.repeat(${longBytes})) + '\\n')
      put(2, 'e' + i + '\\n')
    }
    if (i < ${count}) setTimeout(burst, ${pauseMs}); else setInterval(() => {}, 1000)
  }
  burst()`

/** Where what was collected first differs from what WRITER writes; undefined when nowhere. */
function firstDifference(
  text: string,
  count: number,
  stream: 'stdout' | 'stderr',
  longBytes = 40_000,
): string | undefined {
  const line = (i: number): string => (stream === 'stderr' ? `e${i}` : `${i}${i % 10 ? '' : 'x'.repeat(longBytes)}`)
  const lines = text.split('\n')
  const at = Array.from({ length: count }, (_, i) => line(i)).findIndex((expected, i) => lines[i] !== expected)
  if (at !== -1) return `line ${at} of ${stream} is "${lines[at]?.slice(0, 20)}" (${lines[at]?.length} characters)`
  return lines.length === count + 1 ? undefined : `${stream} has ${lines.length - 1} lines instead of ${count}`
}

describe.skipIf(!(await requireDocker()))('an instance of a Docker Engine', () => {
  let dockerd: TestDockerd
  let harness: DockerHarness
  let kit: ContractKit
  beforeAll(async () => {
    dockerd = await startTestDockerd({ own: true })
    harness = await makeDockerHarness(dockerd)
    await harness.engine.prepare({ ...harness.image, credential: harness.credential, deadlineMs: Date.now() + 60_000 })
    kit = new ContractKit(harness)
  })
  afterEach(() => kit?.cleanUp())
  afterAll(async () => {
    await harness?.close()
    await dockerd?.close()
  })

  /** The text of a stream in all output files, the oldest first. */
  const allText = (instance: EngineInstance, stream: string, rotated: number): string => {
    const files = [...Array.from({ length: rotated }, (_, i) => `${instance.outputFile}.${i + 1}`), instance.outputFile]
    return files.map((file) => streamText(outputRecords(file), stream)).join('')
  }

  it('has every line of its output once, although the supervisor was killed again and again and rotated it meanwhile', async () => {
    const count = 3_000
    const spec = kit.spec({ command: ['/usr/bin/node', '-e', WRITER(count, 60)] })
    await killedChild(harness.options, { spec, what: 'create' }, 200)
    for (const rotateMs of [40, 70, 150, 30]) {
      await killedChild(harness.options, { spec, what: 'adopt', rotateMs }, 250 + rotateMs)
    }
    const adopted = await (await harness.reopen()).adopt(spec)
    if (adopted === undefined) throw new Error('not adopted')
    const rotated = Number((await adopted.rotateOutput()).split('.').at(-1))
    expect(rotated).toBeGreaterThan(8)
    const untilMs = Date.now() + 20_000
    while (!allText(adopted, 'stderr', rotated).endsWith(`e${count - 1}\n`) && Date.now() < untilMs) await sleep(50)
    await adopted.stop(0)
    expect(firstDifference(allText(adopted, 'stderr', rotated), count, 'stderr')).toBeUndefined()
    expect(firstDifference(allText(adopted, 'stdout', rotated), count, 'stdout')).toBeUndefined()
  })

  it('has every line once although the Engine rotates its own file under the reader', async () => {
    const engine = await openDockerEngine({ ...harness.options, logFileBytes: 4 * 1024 * 1024 })
    const count = 7_000
    const longBytes = 15_000 // not in parts; 10.5 MB in all, slower than they are read
    const instance = await engine.create(kit.spec({ command: ['/usr/bin/node', '-e', WRITER(count, 45, longBytes)] }))
    await instance.start()
    await outputUntil(instance, 'stderr', (text) => text.endsWith(`e${count - 1}\n`))
    await instance.stop(0)
    expect(firstDifference(allText(instance, 'stderr', 0), count, 'stderr', longBytes)).toBeUndefined()
    expect(firstDifference(allText(instance, 'stdout', 0), count, 'stdout', longBytes)).toBeUndefined()
    await engine.close()
  })

  it('whose output nobody read while its supervisor was dead leaves all of it at its end', async () => {
    const code = `setTimeout(() => { console.log('last words'); process.exit(4) }, 800)`
    const spec = kit.spec({ command: ['/usr/bin/node', '-e', code] })
    await killedChild(harness.options, { spec, what: 'create' })
    await sleep(1_200)
    expect(await harness.engine.adopt(spec)).toBeUndefined()
    expect(streamText(outputRecords(join(spec.directory, 'output.log')), 'stdout')).toBe('last words\n')
  })

  it('is dialled on while the Engine is dead; calls that need the Engine say so, and its end is told when the Engine is back', async () => {
    const { instance } = await kit.probe()
    await dockerd.daemon?.kill()
    try {
      expect(await dialKind(instance)).toBe('connected')
      expect((await instance.stats()).pids).toBeGreaterThan(0)
      const unreachable = {
        code: 'engine-unreachable',
        retryable: true,
        message: expect.stringContaining(dockerd.socketPath),
      }
      await expect(instance.freeze()).rejects.toMatchObject(unreachable)
      await expect(harness.engine.create(kit.spec())).rejects.toMatchObject(unreachable)
      await expect(harness.engine.strays()).rejects.toMatchObject(unreachable)
      await expect(harness.reopen()).rejects.toMatchObject(unreachable)
    } finally {
      await dockerd.daemon?.start()
    }
    // An Engine that starts ends what the one before it left, unless it is told to keep it (live restore).
    expect(await within(instance.exited, 20_000, 'end')).toMatchObject({ oom: false })
    expect(streamText(outputRecords(instance.outputFile), 'stdout')).toBe('got SIGTERM\n')
    expect(await dialKind(instance)).toBe('gone')
    await listening(await kit.start())
  })

  it('of an image with VOLUMEs has them read-only, and leaves no volume behind', async () => {
    const { image } = harness
    const config = { ...image.config, config: { ...image.config.config, Volumes: { '/probe/data': {} }, User: '0:0' } }
    const probe = await kit.probe({ image: { ...image, config } })
    expect(await probe.failure(`fs.writeFileSync('/probe/data/x', '')`)).toBe('EROFS')
    await probe.instance.remove()
    const { docker } = await connectDocker(dockerd.socketPath)
    expect((await docker.listVolumes()).Volumes ?? []).toEqual([])
  })
})

describe.skipIf(!(await requireDocker()))('a look at a Docker Engine', () => {
  it('tells what it is', async () => {
    const dockerd = await startTestDockerd()
    try {
      const found = await detectDocker(dockerd.socketPath)
      expect(found).toMatchObject({ reachable: true, local: true, rootless: false, architecture: 'amd64' })
      expect(found).toHaveProperty('version', expect.stringMatching(/^\d+\.\d+/))
    } finally {
      await dockerd.close()
    }
  })

  it('tells that there is none, and what to do', async () => {
    expect(await detectDocker('/nowhere/docker.sock')).toEqual({
      reachable: false,
      problem: expect.stringContaining('/nowhere/docker.sock'),
      hint: expect.stringContaining('start the Docker Engine'),
    })
  })
})

it('the client library is not loaded by those who only could use it', () => {
  const engine = join(import.meta.dirname, '../../runtime-shim/engines/docker.ts')
  const code = `await import(${JSON.stringify(engine)})
    const { createRequire } = await import('node:module')
    console.log(Object.keys(createRequire(${JSON.stringify(engine)}).cache).filter((name) => name.includes('dockerode')).length)`
  expect(execFileSync(process.execPath, ['--input-type=module', '-e', code], { encoding: 'utf8' }).trim()).toBe('0')
})
