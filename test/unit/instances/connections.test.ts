import { describe, expect, it } from 'vitest'
import { AppError } from '../../../common/index.ts'
import type { HostClient } from '../../../runtime-shim/host/host-client.ts'
import { dialDescriptor, isUnsent, whyUnusable } from '../../../runtime-shim/instances/connections.ts'

/** What a dial throws when the supervisor answers so, or not at all. */
async function failedDial(answer: () => Promise<unknown>): Promise<unknown> {
  const host = { call: answer } as unknown as HostClient
  return dialDescriptor(host, '0123456789abcdef').then(
    () => undefined,
    (thrown: unknown) => thrown,
  )
}

describe('a dial that failed', () => {
  it.each([
    ['refused', 'took no connection'],
    ['gone', 'took no connection'],
    ['busy', undefined],
  ])('with "%s" ends the instance only where nobody listens any more', async (outcome, recycle) => {
    const thrown = await failedDial(async () => ({ outcome, descriptor: null }))
    expect([isUnsent(thrown), whyUnusable(thrown)]).toEqual([true, recycle])
  })

  it('for want of a supervisor says nothing against the instance', async () => {
    const thrown = await failedDial(async () => {
      throw new AppError('no answer', { code: 'host-gone' })
    })
    expect([isUnsent(thrown), whyUnusable(thrown)]).toEqual([true, undefined])
  })
})
