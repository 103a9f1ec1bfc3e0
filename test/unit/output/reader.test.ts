import { appendFileSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { InvocationRecord } from '../../../api/index.ts'
import { createLogger } from '../../../common/index.ts'
import { type LogLine, type LogQuery, Output, type RecordSource } from '../../../runtime-shim/output/index.ts'
import { conmonLine, OutputFiles } from '../../helpers/output-files.ts'

const A = 'aaaaaaaaaaaaaaaa'
const B = 'bbbbbbbbbbbbbbbb'
const owner = { namespace: 'default', function: 'hello' }
const quiet = createLogger('test', { write: () => undefined })
let root: string
let records: InvocationRecord[]
let output: Output

/** What the store of the control plane answers. */
const source: RecordSource = {
  list: async ({ sinceMs, untilMs, limit }) =>
    records
      .filter(({ startedAtMs }) => startedAtMs >= sinceMs && startedAtMs <= untilMs)
      .toSorted((a, b) => b.startedAtMs - a.startedAtMs)
      .slice(0, limit),
  get: async (requestId) => records.find((record) => record.requestId === requestId),
}

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'slipway-read-'))
  records = []
  output = new Output({ directory: join(root, 'output'), records: source, logger: quiet })
})
afterEach(async () => {
  await output.close()
  rmSync(root, { recursive: true, force: true })
})

function nowUs(): number {
  return Date.now() * 1000
}

async function instance(id: string): Promise<OutputFiles> {
  const files = new OutputFiles(join(root, id))
  await output.attach(id, owner, files)
  return files
}

async function readAll(query: Partial<LogQuery> = {}): Promise<LogLine[]> {
  const lines: LogLine[] = []
  for await (const line of output.read({ ...owner, ...query })) lines.push(line)
  return lines
}

const shown = (lines: LogLine[]): string[] =>
  lines.map(({ stream, requestId, line }) => `${stream} ${requestId ?? '-'} ${line}`)

function record(
  requestId: string,
  startedAtMs: number,
  durationMs: number,
  more: Partial<InvocationRecord> = {},
): InvocationRecord {
  const rest = {
    callerRequestId: null,
    ...owner,
    version: '$LATEST',
    kind: 'event' as const,
    statusCode: 200,
    errorMessage: null,
  }
  return {
    ...rest,
    requestId,
    startedAtMs,
    durationMs,
    instance: A,
    memoryBytes: 1024 * 1024,
    memoryLimitMb: 128,
    coldStart: null,
    ...more,
  }
}

/** One call as the runtime tells it: the line is printed while it is open. */
async function call(files: OutputFiles, requestId: string, text: string, id = A): Promise<InvocationRecord> {
  const startedAtMs = Date.now()
  const began = performance.now()
  output.callBegan(id, requestId)
  await sleep(3)
  appendFileSync(files.current, conmonLine(nowUs(), 'stdout', 'F', text))
  await sleep(2)
  output.callEnded(id, requestId)
  const made = record(requestId, startedAtMs, performance.now() - began, { instance: id })
  records.push(made)
  output.recorded(made)
  return made
}

describe('reading the output of a function', () => {
  it('gives lines with time, stream, instance and request id among the lines of the platform', async () => {
    const files = await instance(A)
    appendFileSync(files.current, conmonLine(nowUs() - 1_000_000, 'stderr', 'F', 'loading'))
    await sleep(5)
    await call(files, 'r-1', 'hello')
    expect(await output.flush(A)).toBe(true)
    const lines = await readAll()
    expect(shown(lines).map((line) => line.replace(/Duration.*/, '…'))).toEqual([
      'stderr - loading',
      'platform r-1 START RequestId:r-1',
      'stdout r-1 hello',
      'platform r-1 END RequestId:r-1',
      'platform r-1 Report RequestId:r-1 …',
    ])
    expect(new Set(lines.map((line) => line.instance))).toEqual(new Set([A]))
    const times = lines.map(({ time }) => time)
    expect(times).toEqual(times.toSorted())
    expect(times[0]).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$/)
  })

  it('gives only one call when asked for its request id', async () => {
    const files = await instance(A)
    for (const id of ['r-1', 'r-2', 'r-3']) {
      await call(files, id, `line of ${id}`)
      await sleep(2)
    }
    await output.flush(A)
    const lines = await readAll({ requestId: 'r-2' })
    expect(new Set(lines.map(({ requestId }) => requestId))).toEqual(new Set(['r-2']))
    expect(lines.map(({ line }) => line)).toContain('line of r-2')
    expect(lines).toHaveLength(4)
    expect(await readAll({ requestId: 'nobody' })).toEqual([])
  })

  it('shows bytes that are no UTF-8 twice: replaced, and exactly', async () => {
    const files = await instance(A)
    const bytes = Buffer.from([0x61, 0, 0xff, 0x62])
    appendFileSync(files.current, conmonLine(nowUs(), 'stdout', 'F', bytes))
    appendFileSync(files.current, conmonLine(nowUs(), 'stdout', 'F', 'a\0é'))
    await output.flush(A)
    const [first, second] = await readAll()
    expect(first).toMatchObject({ line: 'a\0\ufffdb', lineBase64: bytes.toString('base64') })
    expect(second).toMatchObject({ line: 'a\0é' })
    expect(second).not.toHaveProperty('lineBase64')
  })

  it('merges two instances by time, keeps to a range, and gives the newest when limited', async () => {
    const [a, b] = [await instance(A), await instance(B)]
    const startUs = nowUs() - 60_000_000
    for (let i = 0; i < 100; i += 1) {
      appendFileSync((i % 2 === 0 ? a : b).current, conmonLine(startUs + i * 1000, 'stdout', 'F', String(i)))
    }
    await output.flush(A)
    await output.flush(B)
    const numbers = async (query: Partial<LogQuery>): Promise<number[]> =>
      (await readAll(query)).map(({ line }) => Number(line))
    expect(await numbers({})).toEqual(Array.from({ length: 100 }, (_, i) => i))
    expect(await numbers({ sinceMs: startUs / 1000 + 10, untilMs: startUs / 1000 + 12 })).toEqual([10, 11, 12])
    expect(await numbers({ limit: 3 })).toEqual([97, 98, 99])
  })

  it('has the record with the cloud service names beside each line when asked', async () => {
    const files = await instance(A)
    await call(files, 'r-1', 'hello')
    await output.flush(A)
    const lines = await readAll({ format: 'scf' })
    expect(lines.map(({ scf }) => [scf?.SCF_Type, scf?.SCF_RequestId, scf?.SCF_StatusCode])).toEqual([
      ['Platform', 'r-1', 200],
      ['Custom', 'r-1', 200],
      ['Platform', 'r-1', 200],
      ['Platform', 'r-1', 200],
    ])
  })

  it('shows the START of a call that is running', async () => {
    const files = await instance(A)
    output.callBegan(A, 'r-1')
    await sleep(3)
    appendFileSync(files.current, conmonLine(nowUs(), 'stdout', 'F', 'working'))
    await output.flush(A)
    expect(shown(await readAll())).toEqual(['platform r-1 START RequestId:r-1', 'stdout r-1 working'])
  })

  it('follows: what is there, then each line as it is stored, with the calls that begin and end', async () => {
    const files = await instance(A)
    await call(files, 'r-1', 'before')
    await output.flush(A)
    const stop = new AbortController()
    const seen: string[] = []
    const reading = (async () => {
      for await (const { line } of output.read({ ...owner, follow: true, signal: stop.signal }))
        seen.push(line.split(' ')[0] ?? '')
    })()
    await expect.poll(() => seen).toEqual(['START', 'before', 'END', 'Report'])
    await call(files, 'r-2', 'during')
    await expect.poll(() => seen.slice(4)).toEqual(['START', 'during', 'END', 'Report'])
    appendFileSync(files.current, conmonLine(nowUs() + 1_000_000, 'stdout', 'F', 'outside'))
    await expect.poll(() => seen.at(-1)).toBe('outside')
    stop.abort()
    await reading
    expect(seen).toHaveLength(9)
  })

  it('follows a function that has printed nothing yet, and ends when told', async () => {
    const stop = new AbortController()
    const reading = output.read({ ...owner, follow: true, signal: stop.signal }).next()
    await sleep(20)
    stop.abort()
    expect(await reading).toEqual({ done: true, value: undefined })
  })

  it('follows through rotations of segments', async () => {
    await output.close()
    output = new Output({
      directory: join(root, 'output'),
      records: source,
      logger: quiet,
      limits: { segmentBytes: 4096 },
    })
    const files = await instance(A)
    const stop = new AbortController()
    const seen: number[] = []
    const reading = (async () => {
      for await (const { line } of output.read({ ...owner, follow: true, signal: stop.signal })) seen.push(Number(line))
    })()
    for (let i = 0; i < 20; i += 1) {
      const lines = Array.from({ length: 50 }, (_, n) => conmonLine(nowUs(), 'stdout', 'F', String(i * 50 + n)))
      appendFileSync(files.current, Buffer.concat(lines))
      await sleep(5)
    }
    await expect.poll(() => seen.length).toBe(1000)
    expect(seen).toEqual(Array.from({ length: 1000 }, (_, i) => i))
    stop.abort()
    await reading
  })

  it('answers the last 4 KB of a call, with a last line that has no newline yet', async () => {
    const files = await instance(A)
    const sinceMs = Date.now()
    output.callBegan(A, 'r-1')
    await sleep(2)
    for (let i = 0; i < 100; i += 1)
      appendFileSync(files.current, conmonLine(nowUs(), 'stdout', 'F', `${i} ${'x'.repeat(90)}`))
    appendFileSync(files.current, conmonLine(nowUs(), 'stderr', 'P', 'unfinished'))
    output.callEnded(A, 'r-1')
    const tail = await output.tailOf(A, { ...owner, requestId: 'r-1', sinceMs })
    expect(Buffer.byteLength(tail)).toBe(4096)
    expect(tail.endsWith(`99 ${'x'.repeat(90)}\nunfinished`)).toBe(true)
    expect(await output.tailOf(A, { ...owner, requestId: 'other', sinceMs })).toBe('')
  })

  it('gives every record of a range with thousands, in order', async () => {
    for (let i = 0; i < 3500; i += 1) records.push(record(`r-${i}`, 1_700_000_000_000 + i, 0.5))
    const starts = (await readAll()).filter(({ line }) => line.startsWith('START')).map(({ requestId }) => requestId)
    expect(starts).toEqual(records.map(({ requestId }) => requestId))
  })

  it('says how much the limit of bytes has removed', async () => {
    await output.close()
    const limits = { segmentBytes: 64 * 1024, functionBytes: 256 * 1024 }
    output = new Output({ directory: join(root, 'output'), records: source, logger: quiet, limits })
    const files = await instance(A)
    for (let i = 0; i < 10; i += 1) {
      const lines = Array.from({ length: 1000 }, (_, n) =>
        conmonLine(nowUs(), 'stdout', 'F', `${i * 1000 + n} ${'x'.repeat(50)}`),
      )
      appendFileSync(files.current, Buffer.concat(lines))
      await output.flush(A)
    }
    const [notice, ...lines] = await readAll()
    expect(notice).toMatchObject({ stream: 'platform', requestId: null, instance: null })
    expect(notice?.line).toMatch(new RegExp(`^${10_000 - lines.length} older lines \\(\\d+ bytes\\) were removed`))
    expect(lines.at(-1)?.line).toMatch(/^9999 /)
  })

  it('refuses names that lead out of its directory', async () => {
    await expect(readAll({ namespace: '..' })).rejects.toMatchObject({ code: 'invalid-name' })
  })
})
