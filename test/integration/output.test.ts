import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { appendFileSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { createLogger } from '../../common/index.ts'
import { type LogLine, Output } from '../../runtime-shim/output/index.ts'
import { ConmonProgram } from '../helpers/conmon.ts'
import { conmonLine, OutputFiles } from '../helpers/output-files.ts'
import { requireProgram } from '../helpers/programs.ts'

const A = 'aaaaaaaaaaaaaaaa'
const B = 'bbbbbbbbbbbbbbbb'
const CHILD = join(import.meta.dirname, '..', 'helpers', 'output-child.ts')
const records = { list: async () => [], get: async () => undefined }
const logger = createLogger('test', { write: () => undefined })
let root: string
let children: ChildProcess[]

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'slipway-output-'))
  children = []
})
afterEach(() => {
  for (const child of children) child.kill('SIGKILL')
  rmSync(root, { recursive: true, force: true })
})

interface Asked {
  rotate?: string
  finished?: string
  failed?: string
  report?: { rss: number; peakRss: number; lateMs: number; loopP99Ms: number; cpuMs: number }
}

async function collector(setting: {
  instances: Record<string, string>
  limits?: object
  rotate: 'ask' | 'conmon'
}): Promise<ChildProcess> {
  const child = fork(CHILD, [join(root, 'output'), JSON.stringify({ limits: {}, ...setting })], { stdio: 'inherit' })
  children.push(child)
  await new Promise<void>((resolve, reject) => {
    child.once('exit', () => reject(new Error('the collecting process ended')))
    child.on('message', (message) => {
      if (message === 'ready') resolve()
    })
  })
  return child
}

async function answer<K extends keyof Asked>(child: ChildProcess, key: K): Promise<NonNullable<Asked[K]>> {
  for (;;) {
    const [message] = (await once(child, 'message')) as [Asked]
    if (message.failed !== undefined) throw new Error(message.failed)
    const value = message[key]
    if (value !== undefined) return value
  }
}

async function report(child: ChildProcess): Promise<NonNullable<Asked['report']>> {
  const answered = answer(child, 'report')
  child.send({ ask: 'report' })
  return answered
}

async function finish(child: ChildProcess, id: string): Promise<void> {
  const answered = answer(child, 'finished')
  child.send({ ask: 'finish', id })
  await answered
}

async function linesOf(id: string, limits: object = {}): Promise<LogLine[]> {
  const output = new Output({ directory: join(root, 'output'), records, logger, limits })
  const lines: LogLine[] = []
  for await (const line of output.read({ namespace: 'default', function: `f${id}` })) lines.push(line)
  await output.close()
  return lines
}

/** Mulberry32: the same numbers for the same seed. */
function random(seed: number): () => number {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let t = Math.imul(state ^ (state >>> 15), 1 | state)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296
  }
}

/** Writes numbered lines as conmon would, some in pieces that are finished later, and remembers what they are. */
class Writer {
  readonly files: OutputFiles
  readonly written: Record<'stdout' | 'stderr', string[]> = { stdout: [], stderr: [] }
  readonly #open: Record<'stdout' | 'stderr', string> = { stdout: '', stderr: '' }
  readonly #next: () => number
  #count = 0

  constructor(files: OutputFiles, next: () => number) {
    this.files = files
    this.#next = next
  }

  some(): void {
    const bytes = Array.from({ length: 1 + Math.floor(this.#next() * 60) }, () => this.#line())
    const all = Buffer.concat(bytes)
    // conmon's own write may be seen half done
    const cut = Math.floor(this.#next() * all.length)
    appendFileSync(this.files.current, all.subarray(0, cut))
    appendFileSync(this.files.current, all.subarray(cut))
  }

  /** Gives what has no newline yet. */
  end(): void {
    for (const stream of ['stdout', 'stderr'] as const)
      if (this.#open[stream] !== '') this.written[stream].push(this.#open[stream])
  }

  #line(): Buffer {
    const stream = this.#next() < 0.8 ? 'stdout' : 'stderr'
    const tag = this.#next() < 0.15 ? 'P' : 'F'
    this.#count += 1
    const text = `${this.#count}:${'x'.repeat(Math.floor(this.#next() * 120))};`
    this.#open[stream] += text
    if (tag === 'F') {
      this.written[stream].push(this.#open[stream])
      this.#open[stream] = ''
    }
    return conmonLine(Date.now() * 1000, stream, tag, text)
  }
}

describe('copying output', () => {
  it('copies every line exactly once though the copying process is killed at 18 points', {
    timeout: 120_000,
  }, async () => {
    const seed = Number(process.env['SEED'] ?? 4711)
    const next = random(seed)
    const limits = { rotateBytes: 40_000, segmentBytes: 60_000 }
    const writers = new Map([A, B].map((id) => [id, new Writer(new OutputFiles(join(root, id)), next)]))
    const instances = Object.fromEntries([...writers].map(([id, { files }]) => [id, files.directory]))
    let rotations = 0
    for (let kill = 0; kill < 18; kill += 1) {
      const child = await collector({ instances, limits, rotate: 'ask' })
      child.on('message', (message: Asked) => {
        const id = message.rotate
        if (id === undefined) return
        const number = writers.get(id)?.files.rotateNow() ?? 0
        rotations += 1
        // now and then the process is killed before it learns of the rotation
        if (next() < 0.3) child.kill('SIGKILL')
        else child.send({ rotated: { id, number } })
      })
      const until = performance.now() + next() * 60
      while (performance.now() < until) {
        for (const writer of writers.values()) writer.some()
        await sleep(next() * 4)
      }
      child.kill('SIGKILL')
      if (child.exitCode === null && child.signalCode === null) await once(child, 'exit')
    }
    for (const writer of writers.values()) writer.end()
    const last = await collector({ instances, limits, rotate: 'conmon' })
    for (const [id, { written }] of writers) {
      await finish(last, id)
      const lines = await linesOf(id, limits)
      for (const stream of ['stdout', 'stderr'] as const) {
        const joined = lines
          .filter((line) => line.stream === stream)
          .map(({ line, continues }) => line + (continues === true ? '' : '\n'))
        expect(joined.join(''), `seed ${seed}, ${stream} of ${id}`).toBe(
          written[stream].map((text) => `${text}\n`).join(''),
        )
      }
      expect(lines.filter((line) => line.stream === 'platform')).toEqual([])
    }
    expect(rotations).toBeGreaterThan(3)
  })

  it('goes on with an instance whose rotated files wait, and leaves at most two files behind', async () => {
    const files = new OutputFiles(join(root, A))
    for (let file = 0; file < 4; file += 1) {
      if (file > 0) files.rotateNow()
      for (let i = 0; i < 10; i += 1)
        appendFileSync(files.current, conmonLine(Date.now() * 1000, 'stdout', 'F', `${file * 10 + i}`))
    }
    const child = await collector({ instances: { [A]: files.directory }, rotate: 'ask' })
    await finish(child, A)
    expect((await linesOf(A)).map(({ line }) => Number(line))).toEqual(Array.from({ length: 40 }, (_, i) => i))
    expect(files.numbers()).toEqual([3])
  })

  it('costs next to nothing with a hundred idle instances', async () => {
    const instances = Object.fromEntries(
      Array.from({ length: 100 }, (_, i) => {
        const id = i.toString(16).padStart(16, '0')
        return [id, new OutputFiles(join(root, id)).directory]
      }),
    )
    const child = await collector({ instances, rotate: 'ask' })
    await sleep(1500)
    child.send({ ask: 'reset' })
    await sleep(3000)
    const { cpuMs } = await report(child)
    // 2 % of a core
    expect(cpuMs).toBeLessThan(60)
  })
})

describe.skipIf(!requireProgram('conmon', 'runc'))('copying output of a real conmon', () => {
  let program: ConmonProgram

  beforeEach(() => {
    program = new ConmonProgram(join(root, 'bundle'))
  })
  afterEach(() => program.remove())

  it('loses no line over rotations and kills, and has everything when the exit is known', {
    timeout: 120_000,
  }, async () => {
    const setting = {
      instances: { [A]: program.files.directory },
      limits: { rotateBytes: 1024 * 1024 },
      rotate: 'conmon' as const,
    }
    const count = 'seq $((i * 10000 + 1)) $((i * 10000 + 10000)); sleep 0.1; i=$((i + 1))'
    await program.start(['/bin/sh', '-c', `i=0; while [ ! -e /tmp/stop ]; do ${count}; done; echo $((i * 10000)) >&2`])
    let child = await collector(setting)
    for (let kill = 1; kill <= 4; kill += 1) {
      await expect.poll(() => program.files.numbers().at(-1) ?? 0, { timeout: 10_000 }).toBeGreaterThanOrEqual(kill)
      child.kill('SIGKILL')
      await once(child, 'exit')
      child = await collector(setting)
    }
    program.touch('/tmp/stop')
    expect(await program.exited()).toBe(0)
    await finish(child, A)
    const lines = await linesOf(A)
    const numbers = lines.filter(({ stream }) => stream === 'stdout').map(({ line }) => Number(line))
    expect(lines.filter(({ stream }) => stream === 'stderr').map(({ line }) => line)).toEqual([String(numbers.length)])
    expect(numbers.every((number, i) => number === i + 1)).toBe(true)
  })

  it('keeps a line of 1 MiB, NUL, invalid UTF-8 and a last line without newline', async () => {
    const script = "printf %01048576d 0; printf '\\nnul\\000mid\\377\\n'; printf 'oops' >&2; printf last"
    const child = await collector({ instances: { [A]: program.files.directory }, rotate: 'conmon' })
    await program.start(['/bin/sh', '-c', script])
    await program.exited()
    await finish(child, A)
    const lines = await linesOf(A)
    const stdout = lines.filter(({ stream }) => stream === 'stdout')
    expect(stdout[0]?.line.length).toBe(1024 * 1024)
    expect(stdout[1]).toMatchObject({
      line: 'nul\0mid\ufffd',
      lineBase64: Buffer.from('nul\0mid\xff', 'latin1').toString('base64'),
    })
    expect(stdout[2]).toMatchObject({ line: 'last' })
    expect(lines.filter(({ stream }) => stream === 'stderr').map(({ line }) => line)).toEqual(['oops'])
  })

  it('takes a burst of 100 MB in bounded memory, whole, while a neighbour is served in time', async () => {
    const neighbour = new OutputFiles(join(root, B))
    const instances = { [A]: program.files.directory, [B]: neighbour.directory }
    const child = await collector({ instances, rotate: 'conmon', limits: { functionBytes: 1024 ** 3 } })
    child.send({ ask: 'watch', id: B })
    await sleep(300)
    child.send({ ask: 'reset' })
    const before = await report(child)
    await program.start(['/bin/sh', '-c', `yes ${'x'.repeat(99)} | head -n 1000000`])
    const exited = program.exited()
    let isOver = false
    void exited.then(() => (isOver = true))
    while (!isOver) {
      appendFileSync(neighbour.current, conmonLine(Date.now() * 1000, 'stdout', 'F', String(Date.now())))
      await sleep(20)
    }
    expect(await exited).toBe(0)
    await finish(child, A)
    const after = await report(child)
    const count = await countLines(A)
    console.log(`burst of 100 MB: ${JSON.stringify({ before: before.rss, ...after, ...count })}`)
    expect(count).toEqual({ lines: 1_000_000, notices: 0 })
    expect(after.peakRss - before.rss).toBeLessThan(64 * 1024 * 1024)
    expect(after.lateMs).toBeLessThan(1000)
  })
})

async function countLines(id: string): Promise<{ lines: number; notices: number }> {
  const output = new Output({ directory: join(root, 'output'), records, logger })
  const count = { lines: 0, notices: 0 }
  for await (const { stream } of output.read({ namespace: 'default', function: `f${id}` })) {
    count[stream === 'platform' ? 'notices' : 'lines'] += 1
  }
  await output.close()
  return count
}
