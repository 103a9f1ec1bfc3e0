import { describe } from 'vitest'
import { hostileContract } from '../../runtime-shim/engines/hostile-contract.ts'
import { requireProgram } from '../helpers/programs.ts'
import { makeRuncHarness } from '../helpers/runc-harness.ts'

describe.skipIf(!requireProgram('runc', 'conmon', 'mkfs.ext4'))('with runc', () => {
  hostileContract('runc', () => makeRuncHarness({ pulls: true }))
})
