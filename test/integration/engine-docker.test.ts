import { afterAll, beforeAll, describe } from 'vitest'
import { engineContract } from '../../runtime-shim/engines/contract.ts'
import { makeDockerHarness } from '../helpers/docker-harness.ts'
import { requireDocker, startTestDockerd, type TestDockerd } from '../helpers/dockerd.ts'

describe.skipIf(!(await requireDocker()))('with a Docker Engine on this machine', () => {
  let dockerd: TestDockerd
  beforeAll(async () => {
    dockerd = await startTestDockerd()
  })
  afterAll(() => dockerd?.close())
  engineContract('docker', () => makeDockerHarness(dockerd))
})
