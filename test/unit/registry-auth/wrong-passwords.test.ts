import { describe, expect, it } from 'vitest'
import { WrongPasswords } from '../../../registry-auth/index.ts'

describe('wrong passwords', () => {
  it('are counted by address: so many at once, then one more each few seconds', () => {
    let nowMs = 0
    const wrong = new WrongPasswords({ now: () => nowMs, burst: 3, refillMs: 1_000 })
    const count = (times: number, address: string) => Array.from({ length: times }, () => wrong.count(address))
    expect(count(4, '192.0.2.1')).toEqual([undefined, undefined, undefined, 1])
    expect(wrong.count('192.0.2.2')).toBeUndefined()
    nowMs = 1_000
    expect(count(2, '192.0.2.1')).toEqual([undefined, 1])
    nowMs = 60_000
    expect(count(4, '192.0.2.1')).toEqual([undefined, undefined, undefined, 1])
  })

  it.each([
    ['2001:db8:0:1::1', '2001:db8:0:1:ffff:ffff:ffff:ffff', true],
    ['2001:db8:0:1::1', '2001:db8:0:2::1', false],
    ['::1', '::2', true],
    ['::ffff:192.0.2.1', '192.0.2.1', true],
    ['::ffff:192.0.2.1', '::ffff:192.0.2.2', false],
  ])('of %s and %s are counted together: %s', (one, other, together) => {
    const wrong = new WrongPasswords({ burst: 1 })
    wrong.count(one)
    expect(wrong.count(other) !== undefined).toBe(together)
  })

  it('of so many addresses are remembered, and no more', () => {
    const wrong = new WrongPasswords({ now: () => 0, burst: 1, maxAddresses: 100 })
    for (let host = 0; host < 10_000; host += 1) wrong.count(`192.0.${host >> 8}.${host & 255}`)
    expect(wrong.size).toBe(100)
  })
})
