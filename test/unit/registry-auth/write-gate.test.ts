import { describe, expect, it } from 'vitest'
import { WriteGate } from '../../../registry-auth/index.ts'

const access = (...actions: string[]) => [{ type: 'repository', name: 'a', actions }]

describe('the gate for writes', () => {
  it('knows when the last bearer that writes is refused by the registry', () => {
    let nowMs = 0
    const gate = new WriteGate({ now: () => nowMs })
    expect(gate.quietAtMs, 'what was issued before it was made').toBe(62_000)
    nowMs = 70_000
    expect(gate.ask('ci', access('pull'))).toBeUndefined()
    expect(gate.quietAtMs).toBe(62_000)
    for (const action of ['push', 'delete']) {
      nowMs += 1_000
      expect(gate.ask('ci', access('pull', action))).toBeUndefined()
      expect(gate.quietAtMs).toBe(nowMs + 62_000)
    }
  })

  it('when closed lets nobody write but one, and says when to come again', () => {
    const gate = new WriteGate({ now: () => 1_000 })
    gate.close('collector', 31_000)
    expect(gate.ask('ci', access('push'))).toBe(30)
    expect(gate.ask('', access('delete'))).toBe(30)
    expect(gate.ask('ci', access('pull'))).toBeUndefined()
    expect(gate.ask('collector', access('push'))).toBeUndefined()
    gate.close('collector', 0)
    expect(gate.ask('ci', access('push')), 'later than expected').toBe(2)
    gate.open()
    expect(gate.ask('ci', access('push'))).toBeUndefined()
  })
})
