import { afterAll, beforeAll, describe } from 'vitest'
import { hostileContract } from '../../runtime-shim/engines/hostile-contract.ts'
import { makeDockerHarness } from '../helpers/docker-harness.ts'
import { requireDocker, startTestDockerd, type TestDockerd } from '../helpers/dockerd.ts'

describe.skipIf(!(await requireDocker()))('with a Docker Engine on this machine', () => {
  let dockerd: TestDockerd
  beforeAll(async () => {
    dockerd = await startTestDockerd()
  })
  afterAll(() => dockerd?.close())
  hostileContract('docker', () => makeDockerHarness(dockerd))
})
