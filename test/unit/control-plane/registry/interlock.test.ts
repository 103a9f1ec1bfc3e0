import { expect, it } from 'vitest'
import { Interlock } from '../../../../control-plane/registry/interlock.ts'

it('exclusive work waits for what is shared, and what is shared later waits for it', async () => {
  const interlock = new Interlock()
  const log: string[] = []
  const step = (name: string, until: Promise<void>) => async (): Promise<void> => {
    log.push(`${name} begins`)
    await until
    log.push(`${name} ends`)
  }
  const [first, second, exclusive] = [0, 1, 2].map(() => Promise.withResolvers<void>())
  const done = Promise.allSettled([
    interlock.shared(step('first', first?.promise ?? Promise.resolve())),
    interlock.shared(step('second', second?.promise ?? Promise.resolve())),
    interlock.exclusive(step('exclusive', exclusive?.promise ?? Promise.resolve())),
    interlock.shared(step('late', Promise.resolve())),
  ])
  const settle = () => new Promise((resolve) => setImmediate(resolve))
  await settle()
  expect(log).toEqual(['first begins', 'second begins'])
  first?.resolve()
  await settle()
  expect(log.at(-1)).toBe('first ends')
  second?.reject(new Error('a deploy that failed'))
  await settle()
  expect(log.at(-1)).toBe('exclusive begins')
  exclusive?.resolve()
  const outcomes = await done
  expect(outcomes.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'fulfilled', 'fulfilled'])
  expect(log.slice(-3)).toEqual(['exclusive ends', 'late begins', 'late ends'])
})
