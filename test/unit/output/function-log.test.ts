import {
  appendFileSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { BatchBuilder, readHead } from '../../../runtime-shim/output/batch.ts'
import { FunctionLog } from '../../../runtime-shim/output/function-log.ts'
import { storedLines } from '../../../runtime-shim/output/stored-lines.ts'

const A = 'aaaaaaaaaaaaaaaa'
const B = 'bbbbbbbbbbbbbbbb'
const everything = { fromUs: 0, toUs: Number.POSITIVE_INFINITY }
let root: string
let directory: string

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'slipway-log-'))
  directory = join(root, 'default', 'hello')
})
afterEach(() => rmSync(root, { recursive: true, force: true }))

function batch(
  instance: string,
  offset: number,
  texts: string[],
  timeUs = offset,
  requestId: string | null = null,
): Buffer {
  const builder = new BatchBuilder()
  for (const text of texts) {
    builder.add({ stream: 'stdout', timeUs, requestId, continues: false, text: Buffer.from(text) })
  }
  return builder.take(instance, { stdout: { file: 1, offset }, stderr: { file: 2, offset: offset + 1 } })
}

async function texts(
  log: FunctionLog,
  filter: { fromUs: number; toUs: number; requestId?: string } = everything,
): Promise<string[]> {
  const found: string[] = []
  for await (const lines of storedLines(log, filter, { sequence: 0, offset: 0 })) {
    found.push(...lines.map(({ text }) => text.toString()))
  }
  return found
}

function segments(): string[] {
  return readdirSync(directory).filter((name) => name.endsWith('.seg'))
}

describe('the log of a function', () => {
  it('makes no file before the first line', async () => {
    const log = await FunctionLog.open(directory)
    expect(await texts(log)).toEqual([])
    await log.close()
    expect(readdirSync(root)).toEqual([])
  })

  it('finds lines and places again after it was closed', async () => {
    const first = await FunctionLog.open(directory)
    await first.append(batch(A, 10, ['one', 'two'], 10, 'call-1'))
    await first.append(batch(B, 20, ['three']))
    await first.close()
    const log = await FunctionLog.open(directory)
    expect(log.attach(A)).toEqual({ stdout: { file: 1, offset: 10 }, stderr: { file: 2, offset: 11 } })
    expect(log.attach(B)?.stdout.offset).toBe(20)
    expect(await texts(log)).toEqual(['one', 'two', 'three'])
    expect(await texts(log, { ...everything, requestId: 'call-1' })).toEqual(['one', 'two'])
    await log.close()
  })

  it('cuts a batch that a kill left unfinished, at every length', async () => {
    const first = await FunctionLog.open(directory)
    await first.append(batch(A, 10, ['kept']))
    await first.close()
    const path = join(directory, segments()[0] ?? '')
    const whole = readFileSync(path)
    const next = batch(A, 20, ['torn line'])
    for (let length = 1; length < next.length; length += 7) {
      writeFileSync(path, Buffer.concat([whole, next.subarray(0, length)]))
      const log = await FunctionLog.open(directory)
      expect(log.attach(A)?.stdout.offset).toBe(10)
      expect(statSync(path).size).toBe(whole.length)
      await log.append(batch(A, 30, ['after']))
      expect(await texts(log)).toEqual(['kept', 'after'])
      await log.close()
    }
  })

  it('cuts at a batch whose bytes have changed', async () => {
    const first = await FunctionLog.open(directory)
    await first.append(batch(A, 10, ['kept']))
    const path = join(directory, segments()[0] ?? '')
    const good = statSync(path).size
    await first.append(batch(A, 20, ['damaged']))
    await first.close()
    const bytes = readFileSync(path)
    bytes[bytes.length - 1] = 0
    writeFileSync(path, bytes)
    const log = await FunctionLog.open(directory)
    expect(await texts(log)).toEqual(['kept'])
    expect(statSync(path).size).toBe(good)
    await log.close()
  })

  it('goes back to the segment before when not even the checkpoint of the next was written', async () => {
    const first = await FunctionLog.open(directory)
    await first.append(batch(A, 10, ['kept']))
    await first.close()
    for (const torn of ['', 'SLB1']) {
      writeFileSync(join(directory, '0000000002.seg'), torn)
      const log = await FunctionLog.open(directory)
      expect(log.attach(A)?.stdout.offset).toBe(10)
      expect(segments()).toEqual(['0000000001.seg'])
      await log.close()
    }
  })

  it('takes text of a function that looks like a batch for text', async () => {
    const forged = batch(B, 999, ['forged'])
    const first = await FunctionLog.open(directory)
    await first.append(batch(A, 10, [forged.toString('latin1')]))
    await first.close()
    appendFileSync(join(directory, '0000000001.seg'), batch(A, 20, ['x']).subarray(0, 40))
    const log = await FunctionLog.open(directory)
    expect(log.attach(B)).toBeUndefined()
    expect(await texts(log)).toHaveLength(1)
    await log.close()
  })

  it('begins a new segment at its size, knows every place from the last one alone, and reads all of them', async () => {
    const limits = { segmentBytes: 2000 }
    const first = await FunctionLog.open(directory, limits)
    await first.append(batch(B, 5, ['old friend']))
    for (let i = 1; i <= 50; i += 1) await first.append(batch(A, i * 10, [`line ${i} ${'x'.repeat(100)}`]))
    await first.close()
    expect(segments().length).toBeGreaterThan(3)
    for (const name of segments()) expect(statSync(join(directory, name)).size).toBeLessThanOrEqual(2000)
    const log = await FunctionLog.open(directory, limits)
    expect(log.attach(A)?.stdout.offset).toBe(500)
    expect(log.attach(B)?.stdout.offset).toBe(5)
    expect((await texts(log)).map((text) => text.split(' ')[1])).toEqual([
      'friend',
      ...Array.from({ length: 50 }, (_, i) => String(i + 1)),
    ])
    expect((await texts(log, { fromUs: 490, toUs: 500 })).map((text) => text.split(' ')[1])).toEqual(['49', '50'])
    await log.close()
  })

  it('makes an index again that is missing or damaged', async () => {
    const limits = { segmentBytes: 1000 }
    const first = await FunctionLog.open(directory, limits)
    for (let i = 1; i <= 30; i += 1) await first.append(batch(A, i, ['x'.repeat(100)]))
    await first.close()
    unlinkSync(join(directory, '0000000001.idx'))
    truncateSync(join(directory, '0000000002.idx'), 20)
    const log = await FunctionLog.open(directory, limits)
    expect(await texts(log)).toHaveLength(30)
    await log.close()
  })

  it('unlinks the oldest segments beyond the limit of bytes and counts what went', async () => {
    const limits = { segmentBytes: 1000, functionBytes: 3000 }
    const first = await FunctionLog.open(directory, limits)
    for (let i = 1; i <= 100; i += 1) await first.append(batch(A, i, ['x'.repeat(100)]))
    const bytes = segments().reduce((sum, name) => sum + statSync(join(directory, name)).size, 0)
    expect(bytes).toBeLessThanOrEqual(3000)
    const kept = (await texts(first)).length
    expect(first.removed.records).toBe(100 - kept)
    await first.close()
    const log = await FunctionLog.open(directory, limits)
    expect(log.removed.records).toBe(100 - kept)
    expect(log.attach(A)?.stdout.offset).toBe(100)
    await log.close()
  })

  it('unlinks what is older than the age limit, the present segment included, and still knows the places', async () => {
    const log = await FunctionLog.open(directory, { segmentBytes: 1000, ageMs: 1000 })
    const nowMs = Date.now()
    log.attach(A)
    for (let i = 1; i <= 10; i += 1) await log.append(batch(A, i, ['x'.repeat(200)], (nowMs - 5000) * 1000))
    await log.sweep(nowMs - 4500)
    expect(await texts(log)).toHaveLength(10)
    await log.sweep(nowMs)
    expect(await texts(log)).toEqual([])
    expect(segments()).toHaveLength(1)
    await log.close()
    const again = await FunctionLog.open(directory)
    expect(again.attach(A)?.stdout.offset).toBe(10)
    await again.close()
  })

  it('stores a batch whole or not at all when it cannot write, and takes it again later', async () => {
    const log = await FunctionLog.open(join(root, 'file', 'below'))
    writeFileSync(join(root, 'file'), '')
    const lines = batch(A, 10, ['again'])
    await expect(log.append(lines)).rejects.toMatchObject({ code: 'log-write-failed', retryable: true })
    rmSync(join(root, 'file'))
    await log.append(lines)
    expect(await texts(log)).toEqual(['again'])
    await log.close()
  })

  it('keeps all of a record in a batch', () => {
    const bytes = batch(A, 10, ['', '\0\u{1F600}'], 1_795_260_899_373_945, 'r'.repeat(255))
    expect(readHead(bytes, 0)).toMatchObject({ kind: 'lines', instance: A, records: 2, minUs: 1_795_260_899_373_945 })
  })
})
