import { connect, type Socket } from 'node:net'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { HTTP_CASES, type HttpCase } from '../corpus/http/index.ts'
import { Api } from '../helpers/api.ts'
import { FUZZ_TIMEOUT_MS, fuzzRuns, fuzzSeed } from '../helpers/fuzz.ts'
import { readAnswers } from '../helpers/http-answers.ts'
import {
  type CorpusTarget,
  judge,
  judgeMutation,
  type Recordings,
  type Sent,
  sendCases,
  takeRecorded,
} from '../helpers/http-corpus.ts'
import { mutatedRequests } from '../helpers/http-mutations.ts'
import { Platform, PROJECT } from '../helpers/platform.ts'

let platform: Platform
let target: CorpusTarget
let generation: number | undefined
/** Opened first and looked at last: their time passes beside the other tests. */
let slow: Socket[]
beforeAll(async () => {
  platform = await Platform.start('runc', { logLevel: 'info' })
  await platform.cli('build', join(PROJECT, 'test/fixtures/recorder'), '--name', 'recorder')
  const settings = { type: 'web', timeout: 30, concurrency: 100, maxInstances: 1 }
  await new Api(platform).deploy('recorder', 'default/recorder', settings)
  target = { port: platform.port, host: 'recorder.default.localhost' }
  await takeRecorded(target)
  generation = platform.state()?.server?.generation
  slow = Array.from({ length: SLOW }, () => halfAHead(platform.port))
})
afterAll(async () => {
  for (const socket of slow ?? []) socket.destroy()
  await platform?.stop()
})

const SLOW = 1_000
const HEADS_MS = 15_000 + 5_000

function halfAHead(port: number): Socket {
  const socket = connect(port, '127.0.0.1')
  socket.on('error', () => undefined).resume()
  socket.write('GET /never HTTP/1.1\r\nHost: recorder.default.localhost\r\nX-Slow: ')
  return socket
}

/** Every case that went wrong, with what was wrong, and whatever the function saw that no case sent. */
function faultsOf(cases: readonly HttpCase[], sent: readonly Sent[], recorded: Recordings): string[] {
  const faults = cases.flatMap((one, at) => {
    const mine = sent[at]
    const found = mine === undefined ? ['was not sent'] : judge(one, mine, recorded, target.host)
    return found.map((fault) => `${one.name} (${one.rule}): ${fault}`)
  })
  const strays = recorded.strays(sent).map((each) => `nobody sent ${JSON.stringify(each).slice(0, 400)}`)
  return [...faults, ...strays]
}

/** Up to five places, in an order that the seed alone decides. */
function seededCuts(seed: number): (length: number) => number[] {
  let state = seed
  const next = (): number => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
    return state / 2 ** 32
  }
  return (length) => Array.from({ length: 5 }, () => Math.floor(next() * length)).toSorted((a, b) => a - b)
}

vi.setConfig({ testTimeout: 2 * FUZZ_TIMEOUT_MS })

describe('the corpus of malformed, ambiguous and unusual requests', () => {
  it('has more than six hundred cases, each with a name of its own', () => {
    expect(HTTP_CASES.length).toBeGreaterThan(600)
    expect(new Set(HTTP_CASES.map(({ name, bytes }) => `${name} ${bytes}`)).size).toBe(HTTP_CASES.length)
  })

  it('is served and refused as the RFCs demand; function and gateway agree on where every request ends', async () => {
    const sent = await sendCases(HTTP_CASES, target, 'whole')
    expect(faultsOf(HTTP_CASES, sent, await takeRecorded(target))).toEqual([])
  })

  it.each([1, 2])('means the same however the network cuts it (seed %i)', async (seed) => {
    const sent = await sendCases(HTTP_CASES, target, `cut${seed}`, { cuts: seededCuts(seed) })
    expect(faultsOf(HTTP_CASES, sent, await takeRecorded(target))).toEqual([])
  })

  it('is refused alike by the API', async () => {
    const refusals = HTTP_CASES.filter(({ expected }) => expected.kind === 'refused')
    const sent = await sendCases(refusals, { port: platform.port, host: '127.0.0.1' }, 'api')
    const faults = refusals.flatMap((one, at) => {
      const mine = sent[at]
      const status = one.expected.kind === 'refused' ? one.expected.status : []
      const before = one.expected.kind === 'refused' ? one.expected.before : []
      const methods = [...before.map(({ method }) => method), one.bytes.startsWith('HEAD ') ? 'HEAD' : 'GET']
      const last = readAnswers(mine?.wire ?? '', methods).at(-1)
      const isRefused = mine?.ended === true && last !== undefined && status.includes(last.status)
      return isRefused ? [] : [`${one.name}: ${mine?.wire.slice(0, 200)}`]
    })
    expect(faults).toEqual([])
  })
})

describe('requests made from the corpus by a fuzzer', () => {
  it('never make the function see a request that was not sent, never hang, and take no name of the platform along', async () => {
    const seed = fuzzSeed()
    const requests = mutatedRequests(HTTP_CASES, seed, fuzzRuns(2_000))
    const cases = requests.map((bytes) => ({ bytes }))
    const sent = await sendCases(cases, target, `fuzz${seed}`, { endAfterMs: 1_000 })
    const recorded = await takeRecorded(target)
    const faults = requests.flatMap((bytes, at) => {
      const mine = sent[at]
      const found = mine === undefined ? ['was not sent'] : judgeMutation(bytes, mine, recorded, target.host)
      return found.map((fault) => `seed ${seed}, ${JSON.stringify(bytes)}: ${fault}`)
    })
    expect(faults).toEqual([])
    expect(recorded.all.filter(({ bad }) => bad !== undefined)).toEqual([])
    expect(recorded.all.length).toBeGreaterThan(requests.length / 20)
  })

  it('left the platform serving', async () => {
    expect(await platform.isHealthy()).toBe(true)
    expect(platform.state()?.server?.generation).toBe(generation)
  })
})

describe('a thousand callers that never end their heads', () => {
  it('keep nobody from being served, and are sent away in time', async () => {
    const began = performance.now()
    const answers = await Promise.all(
      Array.from({ length: 100 }, () => fetch(`${platform.url}/web/default/recorder/meanwhile`)),
    )
    expect(answers.map(({ status }) => status)).toEqual(Array.from({ length: 100 }, () => 200))
    expect(performance.now() - began).toBeLessThan(5_000)
    await expect
      .poll(() => slow.filter(({ closed }) => !closed).length, { timeout: HEADS_MS + 10_000, interval: 200 })
      .toBe(0)
  })
})
