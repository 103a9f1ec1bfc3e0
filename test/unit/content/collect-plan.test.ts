import { describe, expect, test } from 'vitest'
import { type Holdings, planRemoval } from '../../../content/collect-plan.ts'

const NOW = 1_000_000
const image = (id: string, layers: string[], lastUsedMs: number, isLeased = false): Holdings['images'][number] => ({
  id,
  layers,
  lastUsedMs,
  isLeased,
})

function holdings(images: Holdings['images'], layers: Record<string, number>, pulling: string[] = []): Holdings {
  const entries = Object.entries(layers).map(([name, sizeBytes]) => [name, { sizeBytes, lastUsedMs: 0 }] as const)
  return { images, layers: new Map(entries), pulling: new Set(pulling) }
}

describe('planRemoval', () => {
  test('removes nothing while the limit is kept', () => {
    const held = holdings([image('a', ['1'], 0)], { '1': 100 })
    expect(planRemoval(held, { maxBytes: 100, minAgeMs: 0 }, NOW)).toEqual({ images: [], layers: [], bytes: 0 })
  })

  test('removes the image used longest ago first, and only as many as needed', () => {
    const held = holdings([image('new', ['1'], 30), image('old', ['2'], 10), image('mid', ['3'], 20)], {
      '1': 100,
      '2': 100,
      '3': 100,
    })
    expect(planRemoval(held, { maxBytes: 250, minAgeMs: 0 }, NOW)).toEqual({
      images: ['old'],
      layers: ['2'],
      bytes: 100,
    })
  })

  test('keeps a layer until the last image that has it goes', () => {
    const held = holdings([image('a', ['base', 'a'], 1), image('b', ['base', 'b'], 2)], { base: 100, a: 10, b: 10 })
    expect(planRemoval(held, { maxBytes: 110, minAgeMs: 0 }, NOW)).toEqual({ images: ['a'], layers: ['a'], bytes: 10 })
    expect(planRemoval(held, { maxBytes: 0, minAgeMs: 0 }, NOW).layers).toEqual(['a', 'base', 'b'])
  })

  test('never removes what is leased, even above the limit', () => {
    const held = holdings([image('a', ['1', '2'], 1, true), image('b', ['2', '3'], 2)], { '1': 1, '2': 1, '3': 1 })
    expect(planRemoval(held, { maxBytes: 0, minAgeMs: 0 }, NOW)).toEqual({ images: ['b'], layers: ['3'], bytes: 1 })
  })

  test('never removes layers that a pull counts on', () => {
    const held = holdings([image('a', ['1', '2'], 1)], { '1': 5, '2': 5, stray: 5 }, ['2', 'stray'])
    expect(planRemoval(held, { maxBytes: 0, minAgeMs: 0 }, NOW)).toEqual({ images: ['a'], layers: ['1'], bytes: 5 })
  })

  test('removes stray layers by their age as if they were images', () => {
    const held = holdings([image('a', ['1'], 1)], { '1': 5, stray: 5 })
    expect(planRemoval(held, { maxBytes: 5, minAgeMs: 0 }, NOW)).toEqual({ images: [], layers: ['stray'], bytes: 5 })
  })

  test('removes nothing younger than the least age', () => {
    const held = holdings([image('a', ['1'], NOW - 500), image('b', ['2'], NOW - 2_000)], { '1': 5, '2': 5 })
    expect(planRemoval(held, { maxBytes: 0, minAgeMs: 1_000 }, NOW)).toEqual({ images: ['b'], layers: ['2'], bytes: 5 })
  })
})
