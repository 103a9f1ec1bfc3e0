import { describe, expect, it } from 'vitest'
import { decide, type PoolLimits, type PoolNumbers } from '../../../runtime-shim/scaling/index.ts'

const idle: PoolNumbers = { waiting: 0, starting: 0, created: 0, creating: 0, ready: 0, leaving: 0 }
const plain: PoolLimits = { concurrency: 1, maxInstances: 10, prewarm: 0, provisioned: 0 }

describe('the scaling decision', () => {
  it.each([
    ['does nothing when nobody waits', idle, plain, { start: 0, provision: 0, create: 0 }],
    ['starts one instance for one call', { ...idle, waiting: 1 }, plain, { start: 1, provision: 0, create: 0 }],
    [
      'counts starts that are under way',
      { ...idle, waiting: 3, starting: 2 },
      plain,
      { start: 1, provision: 0, create: 0 },
    ],
    [
      'starts no more than the cap leaves',
      { ...idle, waiting: 9, ready: 8, starting: 1 },
      plain,
      { start: 1, provision: 0, create: 0 },
    ],
    ['starts none at the cap', { ...idle, waiting: 5, ready: 10 }, plain, { start: 0, provision: 0, create: 0 }],
    [
      'lets one start serve as many calls as an instance takes',
      { ...idle, waiting: 5 },
      { ...plain, concurrency: 4 },
      { start: 2, provision: 0, create: 0 },
    ],
    [
      'keeps prewarm filled',
      { ...idle, created: 1, creating: 1 },
      { ...plain, prewarm: 3 },
      { start: 0, provision: 0, create: 1 },
    ],
    [
      'replaces the created instance that a call takes',
      { ...idle, waiting: 1, created: 1 },
      { ...plain, prewarm: 1 },
      { start: 1, provision: 0, create: 1 },
    ],
    [
      'counts instances that end, and those of older revisions, against the cap',
      { ...idle, waiting: 5, ready: 3, leaving: 6 },
      plain,
      { start: 1, provision: 0, create: 0 },
    ],
    [
      'has as many listen as are provisioned, busy ones included',
      { ...idle, ready: 1, starting: 1 },
      { ...plain, provisioned: 4 },
      { start: 0, provision: 2, create: 0 },
    ],
    [
      'starts few provisioned ones at once, and those that calls wait for first',
      { ...idle, waiting: 3, starting: 1 },
      { ...plain, provisioned: 9 },
      { start: 2, provision: 1, create: 0 },
    ],
    [
      'provisions no more than the cap leaves',
      { ...idle, ready: 1, leaving: 8 },
      { ...plain, provisioned: 9 },
      { start: 0, provision: 1, create: 0 },
    ],
    [
      'creates none beyond prewarm',
      { ...idle, created: 5 },
      { ...plain, prewarm: 3 },
      { start: 0, provision: 0, create: 0 },
    ],
  ])('%s', (_title, numbers, limits, decision) => {
    expect(decide(numbers, limits)).toEqual(decision)
  })
})
