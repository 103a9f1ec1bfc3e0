import { describe, expect, it } from 'vitest'
import { Renewing } from '../../../../registry-auth/sources/renewing.ts'

const HOUR = 3_600_000

/** Values that live an hour, numbered as they are made, on a clock of the test. */
function scene(random = 0) {
  const state = { nowMs: 1_000_000_000, made: 0, fails: false, failures: 0 }
  const renewing = new Renewing<number>({
    now: () => state.nowMs,
    random: () => random,
    onRenewalFailed: () => {
      state.failures += 1
    },
  })
  const make = async () => {
    if (state.fails) throw new Error('throttled')
    state.made += 1
    return { value: state.made, expiresAtMs: state.nowMs + HOUR }
  }
  const get = async (key = 'k') => (await renewing.get(key, make)).value
  return { state, renewing, get }
}

const settled = () => new Promise((resolve) => setImmediate(resolve))

describe('a value that expires', () => {
  it('is made once for many that ask at once, and kept', async () => {
    const { state, get } = scene()
    expect(await Promise.all([get(), get(), get()])).toEqual([1, 1, 1])
    state.nowMs += HOUR / 2
    expect(await get()).toBe(1)
    expect(state.made).toBe(1)
  })

  it.each([
    [0, 0.91],
    [1, 0.81],
  ])('is renewed beside its use when a tenth to a fifth of its life is left (jitter %d)', async (random, share) => {
    const { state, get } = scene(random)
    await get()
    state.nowMs += HOUR * (share - 0.02)
    await get()
    await settled()
    expect(state.made).toBe(1)
    state.nowMs += HOUR * 0.02
    expect(await get()).toBe(1)
    await settled()
    expect(await get()).toBe(2)
  })

  it('is served to its end while renewals fail, which are not tried at every use', async () => {
    const { state, get } = scene()
    await get()
    state.fails = true
    state.nowMs += HOUR * 0.95
    expect(await get()).toBe(1)
    await settled()
    expect([await get(), state.failures]).toEqual([1, 1])
    state.nowMs += 31_000
    await get()
    await settled()
    expect(state.failures).toBe(2)
    state.nowMs += HOUR * 0.05 - 32_000
    expect(await get()).toBe(1)
    state.nowMs += 2_000
    await expect(get()).rejects.toThrow('throttled')
  })

  it('is waited for in its last minute', async () => {
    const { state, get } = scene()
    await get()
    state.nowMs += HOUR - 30_000
    expect(await get()).toBe(2)
  })

  it('is kept by key, and forgotten by the beginning of keys', async () => {
    const { renewing, get } = scene()
    expect([await get('a 1'), await get('a 2'), await get('b 1')]).toEqual([1, 2, 3])
    renewing.forget('a ')
    expect([await get('a 1'), await get('b 1')]).toEqual([4, 3])
  })
})
