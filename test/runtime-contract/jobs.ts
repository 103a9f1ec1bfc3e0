import { expect } from 'vitest'
import type { InvocationRecord } from '../../api/index.ts'
import { type Bench, type Check, eventually, type Probe } from './bench.ts'

const JOB = { type: 'job', command: ['node', '/probe/calls/server.mjs'], args: ['job'] }

async function over(bench: Bench, requestId: string): Promise<InvocationRecord> {
  await eventually(
    async () => (await bench.record(requestId)).statusCode,
    (seen) => expect(seen).not.toBe(202),
  )
  return bench.record(requestId)
}

const job = (bench: Bench): Promise<Probe> => bench.once('job', () => bench.deploy('job', JOB))

export const jobs = {
  J1: async (bench) => {
    const { name } = await bench.deploy('j1', JOB)
    const answer = await bench.api.callRaw(name, '{"ms": 2000}')
    expect(answer).toMatchObject({ status: 200, statusCode: 200, result: null, accepted: true, coldStart: null })
    expect(await bench.record(answer.requestId)).toMatchObject({ kind: 'job', statusCode: 202 })
    expect(await over(bench, answer.requestId)).toMatchObject({ statusCode: 200, exitCode: 0 })
  },
  J2: async (bench) => {
    const text = '{"echo":true,\n "text":"Grüße \\u0000", "n": 1.0}'
    const { requestId } = await bench.api.callRaw((await job(bench)).name, text)
    await over(bench, requestId)
    const [first, ...rest] = text.split('\n')
    await eventually(
      () => bench.api.log('job', requestId),
      (seen) => expect(seen).toEqual(expect.arrayContaining([`job began job ${first}`, ...rest])),
    )
  },
  J3: async (bench) => {
    const { name } = await job(bench)
    const answers = await Promise.all([3, 0].map((code) => bench.api.call(name, { code })))
    const records = await Promise.all(answers.map(({ requestId }) => over(bench, requestId)))
    expect(records.map(({ statusCode, exitCode }) => [statusCode, exitCode])).toEqual([
      [439, 3],
      [200, 0],
    ])
    expect(new Set(records.map(({ instance }) => instance)).size).toBe(2)
    await eventually(
      async () => (await job(bench)).ids(),
      (seen) => expect(seen).toEqual([]),
    )
  },
  J4: async (bench) => {
    const { name } = await bench.deploy('j4', { ...JOB, timeout: 5 })
    const asked = await Promise.all(
      [{ trap: { code: 5 } }, {}].map((how) => bench.api.call(name, { ms: 60_000, ...how })),
    )
    const ended = await Promise.all(asked.map(({ requestId }) => over(bench, requestId)))
    // One ends when it is asked to, the other is killed.
    expect(ended.map(({ statusCode, exitCode }) => [statusCode, exitCode])).toEqual([
      [433, 5],
      [433, 137],
    ])
    await eventually(
      () => bench.api.instances(name),
      (seen) => expect(seen).toEqual([]),
    )
  },
} satisfies Record<string, Check>
