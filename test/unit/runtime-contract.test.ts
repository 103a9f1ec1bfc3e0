import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { DEVIATIONS, PROMISES } from '../runtime-contract/promises.ts'

const MOST_DEVIATIONS = 10
/** What the product does not deviate from, whatever the reason. */
const NEVER = ['B7', 'B8', 'C3', 'E7', 'F5', 'F6', 'G15', 'G16', 'I2', 'I4', 'I6', 'I7', 'I8']

describe('the runtime contract', () => {
  it('has 90 assertions and few deviations, none where walls, credentials or retries are concerned', () => {
    const deviations = Object.keys(DEVIATIONS)
    expect(Object.keys(PROMISES)).toHaveLength(90)
    expect(deviations.length).toBeLessThanOrEqual(MOST_DEVIATIONS)
    expect(deviations.filter((id) => NEVER.includes(id))).toEqual([])
  })

  it.each(['runc', 'docker'])('has for %s a written result of every assertion, none failed', (engine) => {
    const file = new URL(`../../docs/runtime-contract/${engine}.json`, import.meta.url)
    const results = JSON.parse(readFileSync(file, 'utf8')) as Record<string, string>
    expect(Object.keys(results)).toEqual(Object.keys(PROMISES))
    for (const [id, result] of Object.entries(results))
      expect(`${id} ${result}`).toBe(`${id} ${id in DEVIATIONS ? 'deviation' : 'pass'}`)
  })
})
