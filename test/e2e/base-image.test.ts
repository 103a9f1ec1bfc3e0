import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { RegistryClient } from '../../oci/index.ts'
import { Api } from '../helpers/api.ts'
import { Platform } from '../helpers/platform.ts'

const BASE = 'slipway_base/node26'

interface Built {
  digest: string
  pushedBytes: number
  reusedBytes: number
  base: string
}

interface Login {
  registry: string
  username: string
  password: string
}

let platform: Platform
let api: Api
let directory: string
beforeAll(async () => {
  platform = await Platform.start()
  api = new Api(platform)
  directory = mkdtempSync(join(tmpdir(), 'slipway-source-'))
})
afterAll(async () => {
  if (directory !== undefined) rmSync(directory, { recursive: true, force: true })
  await platform?.stop()
})

async function build(name: string, ...options: string[]): Promise<Built & { said: string }> {
  writeFileSync(join(directory, 'index.js'), `exports.main_handler = () => '${name}'`)
  const { stdout, stderr } = await platform.run('build', directory, '--name', name, ...options, '-o', 'json')
  return { ...(JSON.parse(stdout) as Built), said: stderr }
}

async function login(path: string): Promise<Login> {
  return (await (await api.request('POST', path)).json()) as Login
}

async function withClient<T>({ registry, username, password }: Login, use: (client: RegistryClient) => Promise<T>) {
  const client = new RegistryClient({ registry, credential: { kind: 'basic', username, password } })
  try {
    return await use(client)
  } finally {
    await client.close()
  }
}

describe('the base image in the registry', () => {
  it('is sent by the first build of all, and mounted by the first build of every other function, in any namespace', async () => {
    const first = await build('first')
    expect(first).toMatchObject({ base: 'published', said: expect.stringContaining('base: published') })
    expect(first.pushedBytes).toBeGreaterThan(10_000_000)

    const second = await build('second')
    expect(second).toMatchObject({ base: 'mounted', said: expect.stringContaining('base: mounted') })
    expect(second.pushedBytes).toBeLessThan(10_000)
    expect(second.reusedBytes).toBeGreaterThan(10_000_000)
    expect((await build('second')).base).toBe('there')

    await platform.cli('namespace', 'create', 'shop')
    const elsewhere = await build('third', '--namespace', 'shop')
    expect(elsewhere).toMatchObject({ base: 'mounted' })
    expect(elsewhere.pushedBytes).toBeLessThan(10_000)

    await api.deploy('second', 'default/second')
    expect(await api.call('second', {})).toMatchObject({ statusCode: 200, result: 'second' })
  })

  it('can be read by builds, and written by none but the administrator’s', async () => {
    const ofNamespace = await login('/v1/namespaces/default/registry-credentials')
    const digest = await withClient(ofNamespace, async (client) => {
      const { descriptor, bytes } = await client.resolve({ repository: BASE, tag: 'latest' })
      await expect(client.putManifest(BASE, 'mine', descriptor.mediaType, bytes)).rejects.toMatchObject({
        code: 'registry-denied',
      })
      return descriptor.digest
    })
    const ofBases = await login('/v1/registry/base-credentials')
    await withClient(ofBases, async (client) => {
      expect((await client.resolve({ repository: BASE, digest })).descriptor.digest).toBe(digest)
      const second = { repository: 'default/second', tag: 'latest' }
      await expect(client.resolve(second)).rejects.toMatchObject({ code: 'registry-denied' })
    })
  })

  it('is no function: none can be deployed from its repository', async () => {
    await expect(api.deploy('bare', BASE)).rejects.toThrow('image-not-allowed')
  })
})
