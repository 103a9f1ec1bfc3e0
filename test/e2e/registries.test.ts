import { randomBytes } from 'node:crypto'
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'
import { execa } from 'execa'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { PullCredentialEntry, RegistryStep } from '../../api/index.ts'
import { createLogger, dataPaths } from '../../common/index.ts'
import { type OwnedContentStore, openContentStore } from '../../content/index.ts'
import { type Aws, requireMoto, startAws } from '../helpers/moto.ts'
import { type PasswordRegistry, startPasswordRegistry } from '../helpers/password-registry.ts'
import { Platform, PROJECT } from '../helpers/platform.ts'
import { requireProgram } from '../helpers/programs.ts'

/** In the form of our own passwords: the end of the platform looks for it in processes, files and what was said. */
const canary = (): string => `slw_${randomBytes(32).toString('base64url')}`
const LOGIN_PASSWORD = canary()
const HELPER_PASSWORD = canary()
const SECRET_ACCESS_KEY = canary()
const ROLE = 'arn:aws:iam::123456789012:role/slipway'

interface Tested {
  ok: boolean
  steps: RegistryStep[]
}

describe.skipIf(!requireProgram('docker-registry', 'perl'))('registries other than the platform’s own', async () => {
  const withAws = await requireMoto()
  let home: string
  let registry: PasswordRegistry
  let aws: Aws | undefined
  let platform: Platform
  let content: OwnedContentStore
  beforeAll(async () => {
    home = mkdtempSync(join(tmpdir(), 'slipway-registries-'))
    // The password is what moto gives user AWS.
    const users = { AWS: '123456789012-auth-token', person: LOGIN_PASSWORD, helped: HELPER_PASSWORD }
    registry = await startPasswordRegistry(users)
    if (withAws) aws = await startAws()
    makeHelper()
    const environment = {
      PATH: `${home}${delimiter}${process.env['PATH'] ?? ''}`,
      HOME: home,
      AWS_ENDPOINT_URL: aws?.url ?? '',
      AWS_EC2_METADATA_DISABLED: 'true',
    }
    const upOptions = ['--docker-config', join(home, 'platform.json')]
    platform = await Platform.start('runc', { environment, upOptions })
    process.env['SLIPWAY_LOG_LEVEL'] ??= 'warn'
    content = await openContentStore(dataPaths(platform.dataDirectory).content, { logger: createLogger('test') })
  })
  afterAll(async () => {
    await content?.close()
    await platform?.stop()
    await aws?.close()
    await registry?.stop()
    if (home !== undefined) rmSync(home, { recursive: true, force: true })
  })

  function makeHelper(): void {
    const file = join(home, 'docker-credential-canary')
    writeFileSync(file, `#!/bin/sh\necho '{"ServerURL":"","Username":"helped","Secret":"${HELPER_PASSWORD}"}'\n`)
    chmodSync(file, 0o755)
    writeFileSync(join(home, 'platform.json'), JSON.stringify({ credHelpers: {} }))
  }
  /** A command of the user, with more of an environment than the platform has, and something on stdin. */
  const slipway = (args: string[], more: { input?: string; env?: Record<string, string> } = {}) =>
    execa(process.execPath, [join(PROJECT, 'cli/main.ts'), ...args, '-o', 'json'], {
      env: { ...platform.environment, ...more.env },
      extendEnv: false,
      reject: false,
      input: more.input ?? '',
    })
  const login = (input: string) => slipway(['registry', 'login', registry.host, '--username', 'person'], { input })
  const test = async (reference: string, ...options: string[]): Promise<Tested> =>
    JSON.parse((await slipway(['registry', 'test', reference, ...options])).stdout) as Tested
  const outcome = ({ steps }: Tested) => steps.map(({ step, ok }) => `${step} ${ok ? 'ok' : 'failed'}`)
  const call = async (name: string) => (await platform.invoke(name, {})).body
  const provider = async () =>
    (await platform.cli<{ credentials: PullCredentialEntry[] }>('registry', 'credentials', 'list')).credentials[0]
      ?.provider
  const deployed: string[] = []
  /** A function that answers `said`, built and pushed by the user; the platform does not have it yet. */
  const build = async (to: string, said: string, env: Record<string, string>) => {
    const source = mkdtempSync(join(home, 'source-'))
    writeFileSync(join(source, 'index.js'), `exports.main_handler = async () => '${said}'`)
    return slipway(['build', source, '--name', said, '--to', `${registry.host}/${to}`], { env })
  }
  const asPerson = () => {
    const auth = Buffer.from(`person:${LOGIN_PASSWORD}`).toString('base64')
    return { DOCKER_AUTH_CONFIG: JSON.stringify({ auths: { [registry.host]: { auth } } }) }
  }
  const pulled = (said: string) => ({
    statusCode: 200,
    result: said,
    coldStart: { phases: { pull: expect.any(Number) } },
  })
  const deploy = async (repository: string, name: string): Promise<void> => {
    await platform.cli('deploy', '--image', `${registry.host}/${repository}`, '--name', name)
    deployed.push(name)
  }
  /** No instance, and no byte of any image. */
  const evict = async (): Promise<void> => {
    for (const name of deployed) await platform.cli('instances', 'stop', name)
    await expect.poll(() => platform.instanceDirectories(), { timeout: 20_000 }).toEqual([])
    await content.collect({ maxBytes: 0, minAgeMs: 0 })
  }

  it('are pushed to with the login of docker or podman, whose password goes nowhere else', async () => {
    const refused = await build('team/app:v1', 'login', {})
    expect(JSON.parse(refused.stderr.split('\n').at(-1) ?? '')).toMatchObject({
      error: { code: 'registry-unauthorized', hint: expect.stringContaining('no credential is known') },
    })
    const built = await build('team/app:v1', 'login', asPerson())
    expect(built.exitCode, built.stderr).toBe(0)
    expect(JSON.parse(built.stdout)).toMatchObject({ image: expect.stringContaining(`${registry.host}/team/app@`) })
    expect(built.stdout + built.stderr).not.toContain(LOGIN_PASSWORD)
  })

  it('are tested step by step, up to the step that fails', async () => {
    const image = `${registry.host}/team/app:v1`
    const nobody = await test(image)
    expect(outcome(nobody)).toEqual(['credential ok', 'ping failed'])
    expect(nobody.steps.at(-1)).toMatchObject({
      exchanges: [
        {
          asked: `GET http://${registry.host}/v2/`,
          authorization: 'none',
          status: 401,
          challenge: 'basic realm="basic"',
        },
      ],
      error: { code: 'registry-unauthorized', hint: expect.stringContaining('slipway registry login') },
    })
  })

  it('take a login, which is tried first, kept encrypted, and used by deploys and starts', async () => {
    const wrong = await login('wrong')
    expect(wrong.exitCode).toBe(4)
    expect(await platform.cli('registry', 'hosts')).toEqual({ registries: [] })
    const taken = await login(`${LOGIN_PASSWORD}\n`)
    expect(taken.exitCode, taken.stderr).toBe(0)
    expect(outcome(JSON.parse(taken.stdout) as Tested)).toEqual(['credential ok', 'ping ok', 'store ok'])
    expect((await platform.run('registry', 'hosts', '-o', 'json')).stdout).not.toContain(LOGIN_PASSWORD)
    const image = `${registry.host}/team/app:v1`
    expect(outcome(await test(image, '--push'))).toEqual([
      'credential ok',
      'ping ok',
      'manifest ok',
      'blob ok',
      'push ok',
    ])
    expect((await test(`${registry.host}/team/app:none`)).steps.at(-1)).toMatchObject({
      step: 'manifest',
      ok: false,
      error: { code: 'image-not-found' },
    })
    await deploy('team/app:v1', 'by-login')
    expect(await call('by-login')).toMatchObject(pulled('login'))
    expect(await provider()).toBe(`login for ${registry.host}`)
    await platform.cli('registry', 'logout', registry.host)
    expect(outcome(await test(image))).toEqual(['credential ok', 'ping failed'])
  })

  it('are pulled from with what the docker configuration of the platform and its helpers know, at once when it changes', async () => {
    const config = join(home, 'platform.json')
    writeFileSync(config, JSON.stringify({ credHelpers: { [registry.host]: 'canary' } }))
    await build('team/helped:v1', 'helper', asPerson())
    await deploy('team/helped:v1', 'by-helper')
    expect(await call('by-helper')).toMatchObject(pulled('helper'))
    expect(await provider()).toBe(`docker-credential-canary (${config})`)
    writeFileSync(config, JSON.stringify({ credHelpers: { [registry.host]: 'absent' } }))
    const broken = await test(`${registry.host}/team/app:v1`)
    expect(broken.steps).toMatchObject([{ step: 'credential', ok: false, error: { code: 'credential-helper-failed' } }])
    writeFileSync(config, '{}')
  })

  it('are tested like the platform’s own, which asks its token server for each right', async () => {
    const source = mkdtempSync(join(home, 'source-'))
    writeFileSync(join(source, 'index.js'), 'exports.main_handler = async () => 1')
    await platform.cli('build', source, '--name', 'own')
    const own = await test('default/own', '--push')
    expect(outcome(own)).toEqual(['credential ok', 'ping ok', 'manifest ok', 'blob ok', 'push ok'])
    const asked = own.steps.flatMap(({ exchanges }) =>
      exchanges.map(({ asked: line, status }) => `${line} -> ${status}`),
    )
    expect(asked.filter((line) => line.includes('/registry/token'))).toEqual([
      expect.stringMatching(/\?service=slipway-registry&account=… -> 200$/),
      expect.stringMatching(/&scope=repository:default\/own:pull&account=… -> 200$/),
      expect.stringMatching(/&scope=repository:default\/own:pull,push&account=… -> 200$/),
      expect.stringMatching(/&scope=repository:default\/own:delete&account=… -> 200$/),
    ])
    expect(asked.at(-1)).toMatch(/^DELETE .* -> 204$/)
  })

  it.skipIf(!withAws)(
    'of Amazon ECR are pushed to and pulled from, each through the role with rights for that alone',
    async () => {
      const keys = { AWS_ACCESS_KEY_ID: 'AKIAOFTHEPUSHER0', AWS_SECRET_ACCESS_KEY: canary() }
      const entry = [
        'registry',
        'add',
        registry.host,
        '--provider',
        'ecr',
        '--region',
        'eu-central-1',
        '--role-arn',
        ROLE,
      ]
      const added = await slipway([...entry, '--access-key-id', 'AKIAOFTHEPLATFRM'], { input: SECRET_ACCESS_KEY })
      expect(added.exitCode, added.stderr).toBe(0)
      expect(added.stdout).not.toContain(SECRET_ACCESS_KEY)
      const image = `${registry.host}/team/ecr:v1`
      const built = await build('team/ecr:v1', 'ecr', keys)
      expect(built.exitCode, built.stderr).toBe(0)
      const seen = () =>
        (aws?.calls ?? []).map(({ action, accessKeyId, form }) => ({
          action,
          by: accessKeyId,
          pushes: form.get('Policy')?.includes('ecr:PutImage') ?? false,
          on: /repository\/[a-z/]*/.exec(form.get('Policy') ?? '')?.[0],
        }))
      const [assumed] = seen()
      expect(assumed).toEqual({ action: 'AssumeRole', by: 'AKIAOFTHEPUSHER0', pushes: true, on: 'repository/team/ecr' })
      aws?.calls.splice(0)
      await deploy('team/ecr:v1', 'by-ecr')
      expect(await call('by-ecr')).toMatchObject(pulled('ecr'))
      await evict()
      expect(await call('by-ecr')).toMatchObject(pulled('ecr'))
      expect(seen()).toMatchObject([
        { action: 'AssumeRole', by: 'AKIAOFTHEPLATFRM', pushes: false, on: 'repository/team/ecr' },
        { action: 'GetAuthorizationToken' },
      ])
      expect(await provider()).toBe(`ecr eu-central-1 as ${ROLE}`)
      if (aws !== undefined) aws.failure = { status: 400, type: 'AccessDeniedException', message: 'not authorized' }
      const other = await test(`${registry.host}/team/app:v1`)
      expect(other.steps).toMatchObject([{ step: 'credential', ok: false, error: { code: 'provider-denied' } }])
      // What was asked for before is served while AWS fails.
      expect(outcome(await test(image))).toEqual(['credential ok', 'ping ok', 'manifest ok', 'blob ok'])
    },
  )
})
