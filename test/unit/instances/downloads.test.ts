import { setTimeout as sleep } from 'node:timers/promises'
import { describe, expect, it } from 'vitest'
import type { Version } from '../../../api/index.ts'
import { AppError } from '../../../common/index.ts'
import type { HostClient } from '../../../runtime-shim/host/host-client.ts'
import { Downloads } from '../../../runtime-shim/instances/downloads.ts'
import type { StartTrace } from '../../../runtime-shim/instances/trace.ts'
import type { PullCredentials } from '../../../runtime-shim/invoke/runtime.ts'

const version = {
  namespace: 'default',
  function: 'f',
  image: { registry: 'r', repository: 'default/f', platformDigest: 'd' },
} as unknown as Version
const LOCAL = { pulled: true, pullMs: 20, unpackMs: 10 }
const trace = (): StartTrace => ({ phases: {} })

/** Downloads at a supervisor that answers each `prepare` with the next of `answers`. */
function downloadsWith(answers: ((args: { timeoutMs: number }) => Promise<unknown>)[]) {
  const events: string[] = []
  let made = 0
  const credentials: PullCredentials = {
    check: ({ namespace }) => {
      if (namespace !== 'default') throw new AppError('not yours', { code: 'image-not-allowed' })
    },
    issue: async () => {
      made += 1
      const id = `c${made}`
      events.push(`${id} issued`)
      return {
        id,
        credential: { kind: 'anonymous' },
        joined: () => {
          events.push(`${id} joined`)
          return (instance) => void events.push(`${id} became ${instance}`)
        },
        end: (failure) => void events.push(`${id} ended ${failure ?? 'well'}`),
      }
    },
  }
  const host = {
    call: (op: string, args: { timeoutMs: number; download: string }) => {
      events.push(`${args.download} ${op}`)
      return answers.shift()?.(args)
    },
  } as unknown as HostClient
  return { downloads: new Downloads(host, credentials), events }
}

const timedOut = async ({ timeoutMs }: { timeoutMs: number }): Promise<never> => {
  await sleep(timeoutMs)
  throw new AppError('too slow', { code: 'pull-timeout', fault: 'dependency', retryable: true })
}

describe('a download', () => {
  it('serves all that wait for it with one credential, which ends with it', async () => {
    const { downloads, events } = downloadsWith([async () => sleep(20, LOCAL)])
    const deadlineMs = Date.now() + 1_000
    const [one, two] = [trace(), trace()]
    const became = await Promise.all([
      downloads.wait(version, deadlineMs, one),
      downloads.wait(version, deadlineMs, two),
    ])
    became[1]?.('i2')
    expect(events).toEqual(['c1 issued', 'c1 prepare', 'c1 joined', 'c1 joined', 'c1 ended well', 'c1 became i2'])
    expect(one).toMatchObject({
      credential: 'c1',
      phases: { credential: expect.any(Number), pull: expect.any(Number) },
    })
    expect(two.credential).toBe('c1')
    await expect(downloads.wait({ ...version, namespace: 'other' }, deadlineMs, trace())).rejects.toMatchObject({
      code: 'image-not-allowed',
    })
  })

  it('is followed by another for one who joined it and has more time', async () => {
    const { downloads, events } = downloadsWith([timedOut, async () => LOCAL])
    const first = downloads.wait(version, Date.now() + 100, trace())
    const later = trace()
    const second = downloads.wait(version, Date.now() + 5_000, later)
    await expect(first).rejects.toMatchObject({ code: 'pull-timeout' })
    await second
    expect(later.credential).toBe('c2')
    expect(events.filter((event) => /issued|ended/.test(event))).toEqual([
      'c1 issued',
      'c1 ended pull-timeout',
      'c2 issued',
      'c2 ended well',
    ])
  })

  it('that fails tells all that wait for it, and the next start begins anew', async () => {
    const refuse = () => Promise.reject(new AppError('no', { code: 'registry-denied', fault: 'user' }))
    const { downloads, events } = downloadsWith([refuse, async () => LOCAL])
    const deadlineMs = Date.now() + 1_000
    const failed = trace()
    const both = await Promise.allSettled([
      downloads.wait(version, deadlineMs, failed),
      downloads.wait(version, deadlineMs, trace()),
    ])
    expect(both).toMatchObject([{ reason: { code: 'registry-denied' } }, { reason: { code: 'registry-denied' } }])
    expect(failed).toMatchObject({ credential: 'c1', phases: { pull: expect.any(Number) } })
    await downloads.wait(version, deadlineMs, trace())
    expect(events).toContain('c2 ended well')
  })
})
