import { describe, expect, it } from 'vitest'
import {
  firstOf,
  RegistryUsers,
  TemporaryCredentials,
  type UserRecord,
  type UserStore,
} from '../../../registry-auth/index.ts'

function memoryStore(): UserStore & { records: Map<string, UserRecord> } {
  const records = new Map<string, UserRecord>()
  return {
    records,
    get: (name) => records.get(name),
    list: () => [...records.values()],
    put: async (user) => void records.set(user.username, user),
    delete: async (name) => records.delete(name),
  }
}

describe('a pull credential', () => {
  it('opens one repository for pulling, with tokens of one second', () => {
    const credentials = new TemporaryCredentials({ now: () => 1000 })
    const { username, password } = credentials.issuePull('default/a', 2000)
    expect(credentials.check(username, password)).toEqual({
      subject: username,
      grants: [{ repository: 'default/a', actions: ['pull'] }],
    })
  })

  it('is refused with another password or name, after its end, and from its deadline on', () => {
    let nowMs = 1000
    const credentials = new TemporaryCredentials({ now: () => nowMs })
    const first = credentials.issuePull('a', 2000)
    const second = credentials.issuePull('a', 2000)
    expect(credentials.check(first.username, second.password)).toBeUndefined()
    expect(credentials.check(first.username, '')).toBeUndefined()
    expect(credentials.check('temporary-', first.password)).toBeUndefined()
    first.end()
    first.end()
    expect(credentials.check(first.username, first.password)).toBeUndefined()
    nowMs = 1999
    expect(credentials.check(second.username, second.password)).toBeDefined()
    nowMs = 2000
    expect(credentials.check(second.username, second.password)).toBeUndefined()
    expect(credentials.size).toBe(0)
  })

  it('is different each time', () => {
    const credentials = new TemporaryCredentials()
    const made = Array.from({ length: 100 }, () => credentials.issuePull('a', Date.now() + 1000))
    expect(new Set(made.flatMap(({ username, password }) => [username, password])).size).toBe(200)
  })

  it('is not made beyond 10,000 in force; those past their deadline make room', () => {
    let nowMs = 0
    const credentials = new TemporaryCredentials({ now: () => nowMs })
    for (let count = 0; count < 10_000; count += 1) credentials.issuePull('a', 10)
    expect(() => credentials.issuePull('a', 10)).toThrow(
      expect.objectContaining({ code: 'credentials-exhausted', retryable: true }),
    )
    nowMs = 10
    credentials.issuePull('a', 20)
    expect(credentials.size).toBe(1)
  })
})

describe('a registry user', () => {
  it('logs in with the password that was answered once, which is not kept', async () => {
    const store = memoryStore()
    const users = new RegistryUsers(store)
    const password = await users.add('ci', ['pull,push:default/*'])
    expect(users.check('ci', password)).toEqual({
      subject: 'ci',
      grants: [{ repository: 'default/*', actions: ['pull', 'push'] }],
    })
    expect(users.check('ci', `${password}x`)).toBeUndefined()
    expect(users.list()).toEqual([{ username: 'ci', allow: ['pull,push:default/*'] }])
    expect(JSON.stringify([...store.records])).not.toContain(password)
  })

  it('is made once, also when asked for twice at the same time', async () => {
    const users = new RegistryUsers(memoryStore())
    const outcomes = await Promise.allSettled([users.add('ci', []), users.add('ci', [])])
    expect(outcomes.map(({ status }) => status)).toEqual(['fulfilled', 'rejected'])
    await expect(users.add('ci', [])).rejects.toMatchObject({ code: 'user-exists' })
  })

  it('cannot have a name that a temporary credential could have, nor a strange one', async () => {
    const users = new RegistryUsers(memoryStore())
    for (const name of ['temporary-a', 'a:b', '', 'A', '-a', 'a'.repeat(64)]) {
      await expect(users.add(name, [])).rejects.toMatchObject({ code: 'user-name-invalid' })
    }
    await expect(users.add('a', ['everything'])).rejects.toMatchObject({ code: 'grant-invalid' })
  })

  it('has the rights that were set last, and none after it was revoked', async () => {
    const users = new RegistryUsers(memoryStore())
    const password = await users.add('ci', [])
    await users.setRights('ci', ['pull:a'])
    expect(users.check('ci', password)?.grants).toEqual([{ repository: 'a', actions: ['pull'] }])
    const refreshToken = (await users.issueRefresh('ci')) ?? ''
    await users.revoke('ci')
    expect(users.check('ci', password)).toBeUndefined()
    expect(users.checkRefresh(refreshToken)).toBeUndefined()
    await expect(users.revoke('ci')).rejects.toMatchObject({ code: 'user-not-found' })
    await expect(users.setRights('ci', [])).rejects.toMatchObject({ code: 'user-not-found' })
  })

  it('that is called anonymous stands for who has no login, and can only pull', async () => {
    const users = new RegistryUsers(memoryStore())
    expect(users.anonymous()).toEqual([])
    await expect(users.add('anonymous', ['pull:a'])).rejects.toMatchObject({
      code: 'user-name-invalid',
      hint: expect.stringContaining('registry user rights anonymous'),
    })
    for (const right of ['push:public/*', 'pull,delete:public/*']) {
      await expect(users.setRights('anonymous', [right])).rejects.toMatchObject({ code: 'grant-invalid' })
    }
    await users.setRights('anonymous', ['pull:public/*'])
    expect(users.anonymous()).toEqual([{ repository: 'public/*', actions: ['pull'] }])
    expect(users.list()).toEqual([{ username: 'anonymous', allow: ['pull:public/*'] }])
    for (const password of ['', 'anonymous', '0'.repeat(64)]) {
      expect(users.check('anonymous', password)).toBeUndefined()
    }
    await users.revoke('anonymous')
    expect(users.anonymous()).toEqual([])
  })

  it('cannot be told from a name that nobody has by how long a wrong password takes', async () => {
    const users = new RegistryUsers(memoryStore())
    await users.add('known', [])
    await users.setRights('anonymous', ['pull:public/*'])
    const both = firstOf(new TemporaryCredentials(), users)
    const names = ['known', 'nobody', 'anonymous'] as const
    const times = names.map((): number[] => [])
    for (let round = 0; round < 60; round += 1) {
      for (const [at, name] of names.entries()) {
        const began = process.hrtime.bigint()
        for (let count = 0; count < 100; count += 1) both.check(name, 'a wrong password')
        times[at]?.push(Number(process.hrtime.bigint() - began))
      }
    }
    const medians = times.map((list) => list.toSorted((a, b) => a - b)[list.length >> 1] ?? 0)
    // Without the work for unknown names it is a twentieth.
    expect(Math.max(...medians) / Math.min(...medians)).toBeLessThan(1.7)
  })

  it('has up to 16 logins by refresh token, the oldest of which ends', async () => {
    const users = new RegistryUsers(memoryStore())
    await users.add('a.b', [])
    const tokens = []
    for (let count = 0; count < 17; count += 1) tokens.push((await users.issueRefresh('a.b')) ?? '')
    expect(tokens.map((token) => users.checkRefresh(token) !== undefined)).toEqual([
      false,
      ...Array<boolean>(16).fill(true),
    ])
    for (const token of ['', 'a.b', 'a.b.', '.', `a.b.${'x'.repeat(43)}`])
      expect(users.checkRefresh(token)).toBeUndefined()
    expect(await users.issueRefresh('nobody')).toBeUndefined()
  })
})

it('several sources of credentials are asked in turn', async () => {
  const users = new RegistryUsers(memoryStore())
  const temporary = new TemporaryCredentials()
  const password = await users.add('ci', [])
  const pull = temporary.issuePull('a', Date.now() + 10_000)
  const both = firstOf(temporary, users)
  expect(both.check('ci', password)?.subject).toBe('ci')
  expect(both.check(pull.username, pull.password)?.subject).toBe(pull.username)
  expect(both.check('ci', pull.password)).toBeUndefined()
})
