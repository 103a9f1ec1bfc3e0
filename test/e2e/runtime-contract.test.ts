import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { requireDocker, startTestDockerd, type TestDockerd } from '../helpers/dockerd.ts'
import { Platform } from '../helpers/platform.ts'
import { Bench, type Check } from '../runtime-contract/bench.ts'
import { end } from '../runtime-contract/end.ts'
import { environment } from '../runtime-contract/environment.ts'
import { files } from '../runtime-contract/files.ts'
import { pushProbeImages } from '../runtime-contract/image.ts'
import { isolation } from '../runtime-contract/isolation.ts'
import { jobs } from '../runtime-contract/jobs.ts'
import { network, unheard } from '../runtime-contract/network.ts'
import { type AssertionId, DEVIATIONS, PROMISES } from '../runtime-contract/promises.ts'
import { readiness } from '../runtime-contract/readiness.ts'
import { requests } from '../runtime-contract/requests.ts'
import { start } from '../runtime-contract/start.ts'
import { streams } from '../runtime-contract/streams.ts'

/** A check for each assertion: the compiler misses none. */
const CHECKS: Record<AssertionId, Check> = {
  ...start,
  ...environment,
  ...files,
  ...streams,
  ...end,
  ...network,
  ...requests,
  ...readiness,
  ...isolation,
  ...jobs,
}

/** These take half a minute whatever is done, and so come to their end last; D7 kills the supervisor under everything else. */
const SLOW: AssertionId[] = ['F1', 'H3']
const ALONE: AssertionId[] = ['D5', 'D7']

const engines = [
  { engine: 'runc', canRun: process.getuid?.() === 0 },
  { engine: 'docker', canRun: await requireDocker() },
]

describe.each(engines.filter(({ canRun }) => canRun))('the runtime contract on $engine', ({ engine }) => {
  let dockerd: TestDockerd | undefined
  let platform: Platform
  let bench: Bench
  const results: Partial<Record<AssertionId, 'pass' | 'deviation' | 'fail'>> = {}

  beforeAll(async () => {
    if (engine === 'docker') dockerd = await startTestDockerd()
    const environmentOfDocker = dockerd === undefined ? {} : { DOCKER_HOST: `unix://${dockerd.socketPath}` }
    platform = await Platform.start(engine, { environment: environmentOfDocker })
    bench = new Bench(platform, engine)
    await pushProbeImages(platform)
    void unheard(bench, 'loopback')
    void unheard(bench, 'silent')
  })
  afterAll(async () => {
    await platform?.stop()
    await dockerd?.close()
  })

  const check = async (id: AssertionId): Promise<void> => {
    results[id] = 'fail'
    await CHECKS[id](bench)
    results[id] = id in DEVIATIONS ? 'deviation' : 'pass'
  }
  const all = Object.keys(PROMISES) as AssertionId[]
  const beside = all.filter((id) => !SLOW.includes(id) && !ALONE.includes(id))
  const titled = (ids: AssertionId[]): [AssertionId, string][] => ids.map((id) => [id, PROMISES[id]])

  describe.concurrent('holds beside other calls', () => {
    it.each(titled([...beside, ...SLOW]))('%s: %s', check)
  })
  describe('holds alone', () => {
    it.each(titled(ALONE))('%s: %s', check)
  })

  it('has the results that are written down', async () => {
    await expect(`${JSON.stringify(results, all, 2)}\n`).toMatchFileSnapshot(
      `../../docs/runtime-contract/${engine}.json`,
    )
  })
})
