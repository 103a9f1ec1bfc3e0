import { setTimeout as sleep } from 'node:timers/promises'
import { describe, expect, it } from 'vitest'
import { type Prepare, WaitingCalls } from '../../../runtime-shim/instances/waiting-calls.ts'

const PATIENT = new AbortController().signal

function queue() {
  let readied = 0
  const calls = new WaitingCalls<string>(() => {
    readied += 1
  })
  const given: string[] = []
  const wait = (name: string, prepare?: Prepare, signal = PATIENT): void => {
    calls.wait(signal, prepare).then(
      (slot) => given.push(`${name} has ${slot}`),
      (thrown: Error) => given.push(`${name}: ${thrown.message}`),
    )
  }
  return { calls, given, wait, readied: () => readied }
}

describe('calls that wait for a slot', () => {
  it('have it in the order in which they came', async () => {
    const { calls, given, wait } = queue()
    for (const name of ['a', 'b', 'c']) wait(name)
    for (const slot of [1, 2, 3]) calls.next()?.resolve(`slot ${slot}`)
    await sleep(0)
    expect(given).toEqual(['a has slot 1', 'b has slot 2', 'c has slot 3'])
    expect(calls.next()).toBeUndefined()
  })

  it('let the next pass while their body is read, and keep their place', async () => {
    const { calls, given, wait, readied } = queue()
    const read = Promise.withResolvers<void>()
    wait('slow', () => read.promise)
    wait('quick')
    calls.next()?.resolve('first')
    expect(calls.next()).toBeUndefined()
    wait('later')
    read.resolve()
    await sleep(0)
    expect(readied()).toBe(1)
    calls.next()?.resolve('second')
    await sleep(0)
    expect(given).toEqual(['quick has first', 'slow has second'])
  })

  it('keep their bodies unread until they are among the next eight, or those before are slow', async () => {
    const { calls, wait } = queue()
    let begun = 0
    for (let n = 0; n < 20; n += 1) {
      wait(String(n), async () => {
        begun += 1
        await new Promise(() => undefined)
      })
    }
    expect(begun).toBe(8)
    calls.take(1)
    expect(begun).toBe(9)
    await sleep(1_100)
    expect(begun).toBe(17)
  })

  it('end with what their body was refused for, or when they have waited long enough', async () => {
    const { calls, given, wait } = queue()
    wait('bad', () => Promise.reject(new Error('no JSON')))
    const controller = new AbortController()
    wait('impatient', undefined, controller.signal)
    controller.abort(new Error('late'))
    await sleep(0)
    expect(given.toSorted()).toEqual(['bad: no JSON', 'impatient: late'])
    expect(calls.length).toBe(0)
  })
})
