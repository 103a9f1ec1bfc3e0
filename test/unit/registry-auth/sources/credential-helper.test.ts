import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { askCredentialHelper } from '../../../../registry-auth/sources/credential-helper.ts'
import { DockerConfigSource, userConfigPlaces } from '../../../../registry-auth/sources/index.ts'

let home: string
let env: NodeJS.ProcessEnv
const helper = (name: string, script: string): void => {
  const file = join(home, `docker-credential-${name}`)
  writeFileSync(file, `#!/bin/sh\n${script}\n`)
  chmodSync(file, 0o755)
}
const ask = (name: string, timeoutMs?: number) =>
  askCredentialHelper(name, 'r.example', { env, ...(timeoutMs === undefined ? {} : { timeoutMs }) })

beforeAll(() => {
  home = mkdtempSync(join(tmpdir(), 'slipway-helpers-'))
  env = { PATH: `${home}${delimiter}${process.env['PATH'] ?? ''}`, HOME: home }
})
afterAll(() => rmSync(home, { recursive: true }))

describe('a credential helper', () => {
  it('is asked by one argument and the registry on stdin, and answers JSON', async () => {
    helper('good', 'read url; printf \'{"ServerURL":"%s","Username":"u","Secret":"%s-%s-%s"}\' "$url" "$1" "$#" "$url"')
    expect(await ask('good')).toEqual({ kind: 'basic', username: 'u', password: 'get-1-r.example' })
  })

  it('that answers the user <token> gives a refresh token', async () => {
    helper('token', 'echo \'{"ServerURL":"r","Username":"<token>","Secret":"refresh"}\'')
    expect(await ask('token')).toEqual({ kind: 'identity', token: 'refresh' })
  })

  it('that knows no such registry gives nothing', async () => {
    helper('empty', 'echo "credentials not found in native keychain"; exit 1')
    expect(await ask('empty')).toBeUndefined()
  })

  const failing: [string, string, string][] = [
    ['broken', 'echo "keychain is locked" >&2; echo secret-on-stdout; exit 3', 'exit code 3: keychain is locked'],
    ['mute', 'exit 0', 'its answer is not'],
    ['other', 'echo \'{"user":"secret-on-stdout"}\'', 'its answer is not'],
    ['endless', 'yes secret-on-stdout', 'bytes on stdout'],
    ['../evil', '', 'this is no name of a helper'],
  ]
  it.each(failing)('that fails is named without what it said on stdout: %s', async (name, script, why) => {
    if (!name.includes('/')) helper(name, script)
    const failure = await ask(name).catch((thrown: unknown) => thrown)
    expect(failure).toMatchObject({ code: 'credential-helper-failed', message: expect.stringContaining(why) })
    expect(JSON.stringify([failure, String(failure)])).not.toContain('secret-on-stdout')
  })

  it('that is not installed is said to be missing', async () => {
    await expect(ask('no-such')).rejects.toMatchObject({ message: expect.stringContaining('no such program in PATH') })
  })

  it('that waits for a person is ended with all it started', async () => {
    const pidFile = join(home, 'pid')
    helper('slow', `sleep 60 & echo $! > ${pidFile}; wait`)
    await expect(ask('slow', 300)).rejects.toMatchObject({
      message: expect.stringContaining('no answer within 300 ms'),
    })
    const pid = readFileSync(pidFile, 'utf8').trim()
    for (let tries = 0; tries < 50 && isRunning(pid); tries += 1) await sleep(20)
    expect(isRunning(pid)).toBe(false)
  })
})

/** A process that was killed and that nobody has waited for yet is none. */
function isRunning(pid: string): boolean {
  try {
    return !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'))
  } catch {
    return false
  }
}

describe('the configuration of the user', () => {
  const find = (more: NodeJS.ProcessEnv, registry: string) =>
    new DockerConfigSource(userConfigPlaces({ ...env, ...more }, home), { env }).find({
      registry,
      repository: 'a/b',
      purpose: 'push',
    })
  const write = (path: string, document: unknown): void => {
    mkdirSync(join(home, path, '..'), { recursive: true })
    writeFileSync(join(home, path), JSON.stringify(document))
  }
  const entry = (user: string) => ({ auth: Buffer.from(`${user}:p`).toString('base64') })

  it('is looked for where docker and podman keep theirs, and each credential names its place', async () => {
    write('.docker/config.json', { auths: { 'd.example': entry('docker') }, credHelpers: { 'h.example': 'good' } })
    write('.config/containers/auth.json', { auths: { 'd.example': entry('podman'), 'p.example': entry('podman') } })
    write('session/containers/auth.json', { auths: { 'p.example/a': entry('session') } })
    const text = JSON.stringify({ auths: { 'e.example': entry('environment') } })
    expect(await find({}, 'd.example')).toMatchObject({
      username: 'docker',
      source: `docker-config ${join(home, '.docker/config.json')}`,
    })
    expect(await find({}, 'p.example')).toMatchObject({ username: 'podman' })
    expect(await find({ XDG_RUNTIME_DIR: join(home, 'session') }, 'p.example')).toMatchObject({ username: 'session' })
    expect(await find({ DOCKER_AUTH_CONFIG: text }, 'e.example')).toMatchObject({
      username: 'environment',
      source: 'docker-config DOCKER_AUTH_CONFIG',
    })
    expect(await find({}, 'h.example')).toMatchObject({
      password: 'get-1-h.example',
      source: `docker-credential-good (${join(home, '.docker/config.json')})`,
    })
    expect(await find({}, 'x.example')).toBeUndefined()
  })

  it('that is too large to be one is refused', async () => {
    writeFileSync(join(home, 'large.json'), ' '.repeat(1024 * 1024 + 1))
    await expect(find({ REGISTRY_AUTH_FILE: join(home, 'large.json') }, 'd.example')).rejects.toMatchObject({
      code: 'docker-config-invalid',
    })
  })
})
