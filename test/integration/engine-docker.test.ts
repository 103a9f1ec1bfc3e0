import { afterAll, beforeAll, describe } from 'vitest'
import { engineContract } from '../../runtime-shim/engines/contract.ts'
import { makeDockerHarness } from '../helpers/docker-harness.ts'
import { requireDocker, startTestDockerd, type TestDockerd } from '../helpers/dockerd.ts'

describe.skipIf(!(await requireDocker()))('with a Docker Engine', () => {
  let dockerd: TestDockerd
  beforeAll(async () => {
    dockerd = await startTestDockerd()
  })
  afterAll(() => dockerd?.close())
  describe('on this machine', () => engineContract('docker', () => makeDockerHarness(dockerd)))
  describe('taken for one on another machine', () => {
    engineContract('docker', () => makeDockerHarness(dockerd, { local: false }), ['images', 'connections', 'survival'])
  })
})
