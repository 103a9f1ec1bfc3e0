import { describe, expect, it } from 'vitest'
import { StartBudget } from '../../../runtime-shim/instances/start-budget.ts'

describe('the starts of a namespace', () => {
  it('are so many at once, then evenly over the minute, and another namespace has its own', () => {
    const budget = new StartBudget((namespace) => (namespace === 'a' ? 3 : 1))
    const a = { namespace: 'a' }
    expect([0, 0, 0, 0].map((nowMs) => budget.take(a, nowMs))).toEqual([true, true, true, false])
    expect(budget.take({ namespace: 'b' }, 0)).toBe(true)
    expect(budget.take(a, 19_999)).toBe(false)
    expect(budget.take(a, 20_001)).toBe(true)
    expect(budget.take(a, 20_002)).toBe(false)
  })

  it('that were not used are not saved up beyond one minute', () => {
    const budget = new StartBudget(() => 2)
    const a = { namespace: 'a' }
    budget.take(a, 0)
    expect([1, 1, 1].map(() => budget.take(a, 600_000))).toEqual([true, true, false])
  })

  it('beyond it are refused with what to do', () => {
    const budget = new StartBudget(() => 1)
    budget.require({ namespace: 'a' })
    expect(() => budget.require({ namespace: 'a' })).toThrow(/namespace a may start 1 instances in a minute/)
  })
})
