import { performance } from 'node:perf_hooks'
import { afterEach, expect, it, vi } from 'vitest'
import { Authorizer } from '../../../oci/authorizer.ts'

afterEach(() => void vi.restoreAllMocks())

const SCOPE = ['repository:default/a:pull']

it('a bearer is renewed during a long download, after four fifths of the time that the token server announced', async () => {
  let nowMs = 1_000_000
  vi.spyOn(performance, 'now').mockImplementation(() => nowMs)
  let issued = 0
  const credential = { kind: 'basic', username: 'u', password: 'p' } as const
  const authorizer = new Authorizer('127.0.0.1:5000', new URL('http://127.0.0.1:5000'), credential, async () => {
    issued += 1
    return Buffer.from(JSON.stringify({ token: `t${issued}`, expires_in: 60 }))
  })
  const parameters = new Map([
    ['realm', 'http://127.0.0.1:5000/token'],
    ['service', 's'],
  ])
  expect(authorizer.challenged([{ scheme: 'bearer', parameters }], SCOPE, undefined)).toBe(true)
  const header = () => authorizer.header(SCOPE, undefined)
  expect(await header()).toBe('Bearer t1')
  nowMs += 47_999
  expect(await header()).toBe('Bearer t1')
  nowMs += 1
  expect(await header()).toBe('Bearer t2')
  // One that the registry refuses before its time is replaced too.
  expect(authorizer.challenged([{ scheme: 'bearer', parameters }], SCOPE, 'Bearer t2')).toBe(true)
  expect(await header()).toBe('Bearer t3')
  nowMs += 10 * 60_000
  expect(await Promise.all([header(), header()])).toEqual(['Bearer t4', 'Bearer t4'])
})
