import { describe, expect, it } from 'vitest'
import { KeepUp } from '../../../runtime-shim/scaling/index.ts'

describe('replacing what is provisioned', () => {
  it('is done at once after the first failure, then after 1, 2, 4 and at last 60 s', () => {
    const keepUp = new KeepUp()
    const waits = Array.from({ length: 9 }, () => {
      keepUp.failed('no', 1_000)
      return keepUp.waitMs(1_000)
    })
    expect(waits).toEqual([0, 1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 60_000, 60_000])
  })

  it('is done at once again after an instance that lived', () => {
    const keepUp = new KeepUp()
    for (let n = 0; n < 5; n += 1) keepUp.failed('no', 1_000)
    keepUp.failed('it ended', 100_000, 20_000)
    expect(keepUp.waitMs(100_000)).toBe(0)
    for (let n = 0; n < 5; n += 1) keepUp.failed('no', 1_000)
    keepUp.lives(9_999)
    expect(keepUp.problem(999_999)).toBe('no')
    keepUp.lives(10_000)
    expect(keepUp.problem(999_999)).toBeUndefined()
  })

  it('says why it waits, and how long', () => {
    const keepUp = new KeepUp()
    keepUp.failed('the image is gone', 0)
    expect(keepUp.problem(0)).toBe('the image is gone')
    keepUp.failed('the image is gone', 0)
    expect(keepUp.problem(100)).toBe('the image is gone; tried again in 1 s')
  })
})
