import { appendFileSync, mkdirSync, mkdtempSync, renameSync, rmSync, unlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { createLogger } from '../../../common/index.ts'
import { type LogLine, Output, type OutputOptions } from '../../../runtime-shim/output/index.ts'
import { conmonLine, OutputFiles } from '../../helpers/output-files.ts'

const A = 'aaaaaaaaaaaaaaaa'
const B = 'bbbbbbbbbbbbbbbb'
const owner = { namespace: 'default', function: 'hello' }
let root: string
let output: Output
let warnings: string[]

function open(limits: OutputOptions['limits'] = {}): Output {
  const logger = createLogger('test', { write: (text) => warnings.push(text) })
  const records = { list: async () => [], get: async () => undefined }
  return new Output({ directory: join(root, 'output'), records, logger, limits })
}

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'slipway-collect-'))
  warnings = []
  output = open()
})
afterEach(async () => {
  await output.close()
  rmSync(root, { recursive: true, force: true })
})

async function readAll(name = owner): Promise<LogLine[]> {
  const lines: LogLine[] = []
  for await (const line of output.read(name)) lines.push(line)
  return lines
}

const texts = async (): Promise<string[]> => (await readAll()).map(({ line }) => line)
const print = (files: OutputFiles, text: string, tag: 'F' | 'P' = 'F', stream: 'stdout' | 'stderr' = 'stdout'): void =>
  appendFileSync(files.current, conmonLine(Date.now() * 1000, stream, tag, text))

/** Memory of buffers that are in use. */
function heldBytes(): number {
  setFlagsFromString('--expose-gc')
  const collectGarbage = runInNewContext('gc') as () => void
  collectGarbage()
  return process.memoryUsage().arrayBuffers
}

describe('collecting the output of instances', () => {
  it('goes on in a new process, in the middle of a line', async () => {
    const files = new OutputFiles(join(root, A))
    await output.attach(A, owner, files)
    print(files, 'one')
    print(files, 'tw', 'P')
    expect(await output.flush(A)).toBe(true)
    await output.close()
    output = open()
    print(files, 'o')
    print(files, 'three')
    await output.attach(A, owner, files)
    await output.finish(A)
    expect(await texts()).toEqual(['one', 'two', 'three'])
  })

  it('gives a last line without newline when the instance ends, and only once', async () => {
    const files = new OutputFiles(join(root, A))
    await output.attach(A, owner, files)
    print(files, 'last', 'P')
    await output.finish(A)
    await output.close()
    output = open()
    await output.attach(A, owner, files) // killed before the files were removed
    await output.finish(A)
    expect(await texts()).toEqual(['last'])
  })

  it('copies everything of an instance that ended before it was attached, and says so when one never was', async () => {
    const files = new OutputFiles(join(root, A))
    print(files, 'brief')
    const attached = output.attach(A, owner, files)
    await Promise.all([output.finish(A), output.finish(A)])
    await attached
    expect(await texts()).toEqual(['brief'])
    await expect(output.finish(B)).rejects.toMatchObject({ code: 'output-incomplete' })
  })

  it('finishes an instance that never had an output file', async () => {
    const files = new OutputFiles(join(root, A))
    unlinkSync(files.current)
    await output.attach(A, owner, files)
    await output.finish(A)
    expect(await texts()).toEqual([])
  })

  it('begins anew with an instance that was forgotten', async () => {
    const files = new OutputFiles(join(root, A))
    await output.attach(A, owner, files)
    print(files, 'first life')
    await output.finish(A)
    await output.forget(A, owner)
    await output.attach(A, owner, files)
    await output.flush(A)
    expect(await texts()).toEqual(['first life', 'first life'])
  })

  it('does not let an unfinished line hold more than two rotated files', async () => {
    await output.close()
    output = open({ rotateBytes: 10_000 })
    const files = new OutputFiles(join(root, A))
    await output.attach(A, owner, files)
    print(files, 'Password: ', 'P', 'stderr')
    for (let i = 0; i < 2000; i += 1) print(files, `line ${i}`)
    for (let round = 0; round < 5; round += 1) {
      for (let i = 0; i < 300; i += 1) print(files, `more ${i}`)
      await output.flush(A)
      await expect.poll(() => files.numbers().length).toBeLessThanOrEqual(2)
    }
    print(files, 'wrong', 'F', 'stderr')
    await output.finish(A)
    const stderr = (await readAll()).filter(({ stream }) => stream === 'stderr')
    expect(stderr.map(({ line, continues }) => [line, continues])).toEqual([
      ['Password: ', true],
      ['wrong', undefined],
    ])
    expect((await readAll()).filter(({ stream }) => stream === 'stdout')).toHaveLength(3500)
  })

  it('copies a file once though its number was changed by a rotation that was begun and not made', async () => {
    const files = new OutputFiles(join(root, A))
    print(files, 'one')
    files.rotateNow()
    print(files, 'two')
    await output.attach(A, owner, files)
    await output.flush(A)
    await output.close()
    output = open()
    renameSync(files.current, `${files.current}.3`) // number 2 was given away in vain
    writeFileSync(files.current, '')
    print(files, 'three')
    await output.attach(A, owner, files)
    await output.finish(A)
    expect(await texts()).toEqual(['one', 'two', 'three'])
  })

  it('gives up a backlog beyond the limit, says how much, and goes on with the newest lines', async () => {
    await output.close()
    output = open({ backlogBytes: 100_000, rotateBytes: 10_000_000 })
    const files = new OutputFiles(join(root, A))
    const lines = Array.from({ length: 10_000 }, (_, i) => conmonLine(Date.now() * 1000, 'stdout', 'F', String(i)))
    appendFileSync(files.current, Buffer.concat(lines))
    await output.attach(A, owner, files)
    await output.flush(A)
    const found = await readAll()
    const notices = found.filter(({ stream }) => stream === 'platform').map(({ line }) => line)
    const kept = found.filter(({ stream }) => stream === 'stdout').map(({ line }) => Number(line))
    expect(notices).toHaveLength(1)
    const dropped = Number(/: (\d+) bytes were written faster/.exec(notices[0] ?? '')?.[1])
    const keptBytes = kept.reduce((sum, number) => sum + (lines[number]?.length ?? 0), 0)
    expect(dropped + keptBytes).toBe(Buffer.concat(lines).length)
    expect(kept).toEqual(Array.from({ length: kept.length }, (_, i) => 10_000 - kept.length + i))
    expect(keptBytes).toBeGreaterThan(40_000)
  })

  it('keeps the memory for unfinished lines of all instances within a bound', async () => {
    const before = heldBytes()
    const piece = Buffer.concat(
      Array.from({ length: 190 }, () => conmonLine(Date.now() * 1000, 'stdout', 'P', 'x'.repeat(8000))),
    )
    const ids = Array.from({ length: 40 }, (_, i) => i.toString(16).padStart(16, '0'))
    for (const id of ids) {
      const files = new OutputFiles(join(root, id))
      appendFileSync(files.current, piece) // 1.5 MB without a newline
      await output.attach(id, owner, files)
    }
    for (const id of ids) expect(await output.flush(id)).toBe(true)
    expect(heldBytes() - before).toBeLessThan(32 * 1024 * 1024)
    for (const id of ids) await output.finish(id)
    const bytes = (await readAll()).reduce((sum, { line }) => sum + line.length, 0)
    expect(bytes).toBe(40 * 190 * 8000)
  })

  it('goes on copying others while the supervisor does not answer for one, warns once, and catches up', async () => {
    const [silent, other] = [new OutputFiles(join(root, A)), new OutputFiles(join(root, B))]
    silent.failure = new Error('no supervisor')
    await output.attach(A, owner, silent)
    await output.attach(B, owner, other)
    print(silent, 'late')
    print(other, 'in time')
    expect(await output.flush(B)).toBe(true)
    expect(await texts()).toEqual(['in time'])
    await expect.poll(() => warnings.filter((text) => text.includes('no supervisor')).length).toBe(1)
    silent.failure = undefined
    await expect.poll(() => texts(), { timeout: 3000 }).toContain('late')
    expect(warnings).toHaveLength(1)
  })

  it('waits with the lines while they cannot be stored, and loses none', async () => {
    writeFileSync(join(root, 'output'), 'in the way')
    const files = new OutputFiles(join(root, A))
    await expect(output.attach(A, owner, files)).rejects.toThrow()
    rmSync(join(root, 'output'))
    await output.attach(A, owner, files)
    print(files, 'one')
    await output.flush(A)
    // the segment's directory vanishes: every further write of a new segment fails until it can be made again
    await output.close()
    rmSync(join(root, 'output', 'default'), { recursive: true })
    mkdirSync(join(root, 'output'), { recursive: true })
    output = open()
    await output.attach(B, { namespace: 'default', function: 'other' }, new OutputFiles(join(root, B)))
    rmSync(join(root, 'output', 'default'), { recursive: true, force: true })
    writeFileSync(join(root, 'output', 'default'), 'in the way')
    const late = new OutputFiles(join(root, B))
    print(late, 'kept')
    await expect
      .poll(() => warnings.some((text) => text.includes('cannot store log lines')), { timeout: 3000 })
      .toBe(true)
    rmSync(join(root, 'output', 'default'))
    await expect
      .poll(async () => (await readAll({ namespace: 'default', function: 'other' })).map(({ line }) => line), {
        timeout: 4000,
      })
      .toEqual(['kept'])
  })

  it('gives a reader of another function nothing of this one', async () => {
    const files = new OutputFiles(join(root, A))
    await output.attach(A, owner, files)
    print(files, 'private')
    await output.flush(A)
    expect(await readAll({ namespace: 'default', function: 'hell' })).toEqual([])
    expect(await readAll({ namespace: 'other', function: 'hello' })).toEqual([])
  })

  it('removes the lines of a deleted function', async () => {
    const files = new OutputFiles(join(root, A))
    await output.attach(A, owner, files)
    print(files, 'gone')
    await output.finish(A)
    await output.forget(A, owner)
    await output.remove(owner)
    expect(await texts()).toEqual([])
  })
})
