import { setTimeout as sleep } from 'node:timers/promises'
import { expect, test } from 'vitest'
import type { InvocationRecord } from '../../../../api/index.ts'
import { RecordBuffer } from '../../../../control-plane/store/record-buffer.ts'

const record = (requestId: string): InvocationRecord => ({ requestId }) as InvocationRecord

test('records are handed over together, after the delay', async () => {
  const batches: string[][] = []
  const buffer = new RecordBuffer({
    write: async (records) => void batches.push(records.map(({ requestId }) => requestId)),
    delayMs: 10,
  })
  buffer.add(record('a'))
  buffer.add(record('b'))
  expect(batches).toEqual([])
  await sleep(30)
  expect(batches).toEqual([['a', 'b']])
})

test('a full batch does not wait', () => {
  let handed = 0
  const buffer = new RecordBuffer({ write: async (records) => void (handed += records.length), delayMs: 10_000 })
  for (let n = 0; n < 500; n += 1) buffer.add(record(String(n)))
  expect(handed).toBe(500)
})

test('what is over the bound is dropped and counted, until the writer has caught up', async () => {
  const { promise, resolve } = Promise.withResolvers<void>()
  const buffer = new RecordBuffer({ write: () => promise, delayMs: 1, maxWaiting: 3 })
  for (const id of ['a', 'b', 'c', 'd']) buffer.add(record(id))
  buffer.hand()
  buffer.add(record('e'))
  expect(buffer.dropped).toBe(2)
  resolve()
  await sleep(5)
  buffer.add(record('f'))
  expect(buffer.dropped).toBe(2)
})

test('records that the writer refuses are counted', async () => {
  const buffer = new RecordBuffer({ write: () => Promise.reject(new Error('disk full')), delayMs: 1 })
  buffer.add(record('a'))
  await sleep(10)
  expect(buffer.dropped).toBe(1)
})
