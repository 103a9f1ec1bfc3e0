import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import type { RegistryEntryRequest } from '../../../../api/index.ts'
import { CredentialChain, Registries, SecretBox, type StoredRegistry } from '../../../../registry-auth/index.ts'

let directory: string
let stored: Map<string, StoredRegistry>
let registries: Registries
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), 'slipway-registries-'))
})
afterAll(() => rmSync(directory, { recursive: true }))
beforeEach(() => {
  stored = new Map()
  registries = new Registries({
    store: {
      get: (host) => stored.get(host),
      list: () => [...stored.values()],
      put: async (entry) => void stored.set(entry.host, entry),
      delete: async (host) => stored.delete(host),
    },
    secrets: () => SecretBox.open(join(directory, 'key')),
  })
})
const find = (registry: string) => registries.find({ registry, repository: 'a/b', purpose: 'pull' })

describe('a stored login', () => {
  it('is a credential for its registry alone, and readable nowhere', async () => {
    await registries.login('R.example:5000', 'user', 'canary-password')
    expect(await find('r.example:5000')).toEqual({
      kind: 'basic',
      username: 'user',
      password: 'canary-password',
      source: 'login for r.example:5000',
    })
    expect(await find('r.example')).toBeUndefined()
    expect(JSON.stringify([...stored.values()])).not.toContain('canary-password')
    expect(JSON.stringify(registries.list())).not.toMatch(/canary-password|sealed/)
  })

  it('does not open in the record of another registry', async () => {
    await registries.login('r.example', 'user', 'secret')
    const moved = stored.get('r.example')
    if (moved !== undefined) stored.set('evil.example', { ...moved, host: 'evil.example' })
    await expect(find('evil.example')).rejects.toMatchObject({ code: 'secret-unreadable' })
  })

  it('counts under all names of Docker Hub', async () => {
    await registries.login('registry-1.docker.io', 'user', 'secret')
    expect(await find('docker.io')).toMatchObject({ username: 'user' })
  })

  it('stays when the entry is changed, and ends with logout, which leaves what the entry allows', async () => {
    await registries.login('r.example', 'user', 'secret')
    await registries.set('r.example', { allowPrivate: true })
    expect(await find('r.example')).toMatchObject({ username: 'user' })
    expect(await registries.logout('r.example')).toMatchObject({ provider: 'none', allowPrivate: true })
    expect(await find('r.example')).toBeUndefined()
    expect(stored.get('r.example')).not.toHaveProperty('sealed')
    await registries.remove('r.example')
    expect(registries.list()).toEqual([])
    for (const gone of [registries.remove('r.example'), registries.logout('r.example')]) {
      await expect(gone).rejects.toMatchObject({ code: 'registry-entry-not-found' })
    }
  })
})

describe('an entry', () => {
  it('takes provider and region from the name where that tells them', async () => {
    const host = '123456789012.dkr.ecr.eu-central-1.amazonaws.com'
    expect(await registries.set(host, {})).toMatchObject({ host, provider: 'ecr', region: 'eu-central-1' })
    expect(await registries.set('public.ecr.aws', {})).toMatchObject({ provider: 'ecr-public', region: 'us-east-1' })
    expect(await registries.set('r.example', {})).toMatchObject({ provider: 'none' })
    expect(await find('r.example')).toBeUndefined()
  })

  const refused: [string, RegistryEntryRequest, string][] = [
    ['r.example', { provider: 'ecr' }, 'it has no region'],
    ['r.example', { roleArn: 'arn:aws:iam::123456789012:role/x' }, 'only a provider takes roles'],
    ['r.example', { provider: 'ecr', region: 'eu-west-1', roleArn: 'role/x' }, 'is no role'],
    ['r.example', { provider: 'ecr', region: 'eu-west-1', externalId: 'id' }, 'an external id goes with a role'],
    ['r.example', { provider: 'ecr', region: 'eu-west-1', accessKeyId: 'AKIA12345678' }, 'go together'],
    ['r.example', { provider: 'ecr', region: 'eu-west-1', endpoint: 'ftp://x' }, 'is no endpoint'],
    ['r.example', { provider: 'ecr', region: 'eu-west-1', endpoint: 'http://ecr.example' }, 'is no endpoint'],
    ['r.example', { realm: 'http://auth.example' }, 'is no realm'],
    ['r.example', { realm: 'https://u:p@auth.example' }, 'is no realm'],
  ]
  it.each(refused)('of %s with %j is refused: %s', async (host, request, why) => {
    await expect(registries.set(host, request)).rejects.toMatchObject({
      code: 'registry-entry-invalid',
      message: expect.stringContaining(why),
      hint: expect.any(String),
    })
  })

  it('of what is no host is refused', async () => {
    await expect(registries.set('noHost', {})).rejects.toMatchObject({ code: 'reference-invalid' })
  })
})

describe('the chain of sources', () => {
  const source = (name: string, password?: string) => ({
    name,
    find: async () => (password === undefined ? undefined : ({ kind: 'basic', username: 'u', password } as const)),
  })
  const broken = {
    name: 'broken',
    find: async () => {
      throw new Error('helper failed')
    },
  }

  it('answers the first that has a credential, by name, with what the registry’s entry allows', async () => {
    const chain = new CredentialChain({
      sources: [source('empty'), source('first', '1'), source('second', '2')],
      reachOf: () => ({ plainHttp: true }),
    })
    expect(await chain.for('r.example', 'a', 'pull')).toEqual({
      kind: 'basic',
      username: 'u',
      password: '1',
      source: 'first',
      reach: { plainHttp: true },
    })
  })

  it('ends with a nobody that has a name', async () => {
    const chain = new CredentialChain({ sources: [source('empty')] })
    expect(await chain.for('r.example', 'a', 'pull')).toEqual({ kind: 'anonymous', source: 'anonymous' })
  })

  it('never takes a source that fails for an empty one', async () => {
    const chain = new CredentialChain({ sources: [broken, source('next', '1')] })
    await expect(chain.for('r.example', 'a', 'pull')).rejects.toThrow('helper failed')
  })
})
