import { spawn } from 'node:child_process'
import {
  chmodSync,
  chownSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { makeNodeBase, type NodeBase } from '../../base-images/node/index.ts'
import { type BuildEvent, type BuildResult, publishImage } from '../../builder/index.ts'
import { npmDirectory } from '../../builder/npm-tool.ts'
import { RegistryClient } from '../../oci/index.ts'
import { KEPT, testBase, testBuilder } from '../helpers/builds.ts'
import { startImage, unpackImage } from '../helpers/image-process.ts'
import { requireProgram } from '../helpers/programs.ts'
import { startTestRegistry, type TestRegistry } from '../helpers/registry.ts'
import { startTokenRegistry } from '../helpers/token-registry.ts'

const SAMPLES = join(import.meta.dirname, '../../samples')
const CHILD = join(import.meta.dirname, '../helpers/build-child.ts')
const runnable = requireProgram('docker-registry', 'mmdebstrap', 'runc', 'npm', 'nsenter', 'tar')

describe.skipIf(!runnable)('building from source', () => {
  let home: string
  let registry: TestRegistry
  let base: NodeBase

  beforeAll(async () => {
    home = mkdtempSync(join(tmpdir(), 'slipway-builds-'))
    registry = await startTestRegistry()
    base = await testBase()
    await npmDirectory(KEPT, AbortSignal.timeout(60_000))
  })
  afterAll(async () => {
    await registry.close()
    rmSync(home, { recursive: true })
  })

  /** A source of its own, made of files; answers its directory. */
  function source(files: Record<string, string>): string {
    const directory = mkdtempSync(join(home, 'source-'))
    for (const [path, text] of Object.entries(files)) writeFileSync(join(directory, path), text)
    return directory
  }

  async function build(
    path: string,
    options: { cold?: boolean; events?: BuildEvent[]; signal?: AbortSignal } = {},
  ): Promise<BuildResult> {
    const builder = testBuilder(options.cold === true ? mkdtempSync(join(home, 'cold-')) : home)
    const { events = [], signal = AbortSignal.timeout(60_000) } = options
    const target = { registry: registry.address, repository: 'default/built', tag: 'v1' }
    return builder.build(
      {
        source: { kind: 'directory', path },
        settings: { name: 'built' },
        target,
        onEvent: (event) => events.push(event),
      },
      signal,
    )
  }

  async function call(
    result: BuildResult,
    event: unknown,
  ): Promise<{ value: unknown; output: string; code: number | null }> {
    const image = await unpackImage(registry.address, 'default/built', result.digest, join(home, 'unpacked'))
    try {
      const running = await startImage(image)
      const headers = { 'x-scf-request-id': 'r-1' }
      const { text } = await running.post('/event-invoke', JSON.stringify(event), headers)
      const code = await running.stop()
      return { value: JSON.parse(text) as unknown, output: running.output(), code }
    } finally {
      image.remove()
    }
  }

  function nothingLeft(directory = home): void {
    expect(existsSync(join(directory, 'builds')) ? readdirSync(join(directory, 'builds')) : []).toEqual([])
    expect(readFileSync('/proc/self/mountinfo', 'utf8')).not.toContain(directory)
    const groups = ['/sys/fs/cgroup', '/sys/fs/cgroup/memory'].flatMap((root) =>
      existsSync(root) ? readdirSync(root) : [],
    )
    expect(groups.filter((name) => name.startsWith('slipway-test0000-build'))).toEqual([])
  }

  describe('the base image', () => {
    it('made again elsewhere has the same digest; made a second time makes nothing', async () => {
      const cacheDirectory = join(home, 'base')
      const lines: string[] = []
      const again = await makeNodeBase({ cacheDirectory, progress: (line) => lines.push(line) })
      expect({ digest: again.digest, cached: again.cached }).toEqual({ digest: base.digest, cached: false })
      expect(lines).toHaveLength(2)
      expect(again.packages.some((line) => /^libatomic1 \d/.test(line))).toBe(true)
      const startedMs = performance.now()
      expect((await makeNodeBase({ cacheDirectory })).cached).toBe(true)
      expect(performance.now() - startedMs).toBeLessThan(2000)
      expect(readdirSync(cacheDirectory)).toEqual(['layers'])
    })
  })

  describe('the samples', () => {
    it.each(['hello-node', 'node-with-dependency'])('%s is built, pushed, and answers as expected', async (name) => {
      const result = await build(join(SAMPLES, name))
      expect(result.image).toBe(`${registry.address}/default/built@${result.digest}`)
      const expected = JSON.parse(readFileSync(join(SAMPLES, name, 'expected.json'), 'utf8')) as {
        event: unknown
        result: unknown
        output: string
      }
      const { value, output, code } = await call(result, expected.event)
      expect(value).toEqual(expected.result)
      expect(output).toContain(expected.output)
      expect(code).toBe(0)
    })

    it('a server of its own started by scf_bootstrap, and one by a start script, answer too', async () => {
      const server = `require('node:http').createServer((q, s) => s.end(JSON.stringify({ own: process.env.WHO ?? 'server' }))).listen(9000)`
      const bootstrap = source({
        'app.js': server,
        scf_bootstrap: '#!/bin/bash\nexport WHO=bootstrap\nexec /var/lang/node26/bin/node app.js\n',
      })
      expect((await call(await build(bootstrap), {})).value).toEqual({ own: 'bootstrap' })
      const script = source({ 'app.js': server, 'package.json': '{"scripts":{"start":"WHO=script node app.js"}}' })
      const { value, code } = await call(await build(script), {})
      expect(value).toEqual({ own: 'script' })
      expect(code).not.toBe(137)
    })
  })

  describe('the image', () => {
    it('has dependencies and application in layers of their own below /var/user, production only, nothing that names a registry', async () => {
      const result = await build(join(SAMPLES, 'node-with-dependency'))
      const image = await unpackImage(registry.address, 'default/built', result.digest, join(home, 'unpacked'))
      try {
        const [dependencies = [], application = []] = image.layerNames.slice(base.image.layers.length)
        expect(image.layerNames).toHaveLength(base.image.layers.length + 2)
        expect(dependencies.every((name) => name.startsWith('var/user/node_modules/'))).toBe(true)
        expect(dependencies).toContain('var/user/node_modules/.bin/semver')
        expect(dependencies.some((name) => name.includes('/ms/') || name.includes('.package-lock.json'))).toBe(false)
        expect(application.toSorted()).toEqual(
          ['', 'index.mjs', 'package-lock.json', 'package.json'].map((name) => `var/user/${name}`),
        )
        expect(image.config.config).toMatchObject({
          User: '1000:1000',
          WorkingDir: '/var/user',
          ExposedPorts: { '9000/tcp': {} },
          Labels: { 'slipway.runtime': 'node26', 'slipway.handler': 'index.main_handler' },
        })
        for (const path of ['etc/passwd', 'etc/ssl/certs/ca-certificates.crt', 'usr/bin/env', 'bin/sh']) {
          expect(existsSync(join(image.root, path)), path).toBe(true)
        }
        expect(existsSync(join(image.root, 'usr/bin/dpkg'))).toBe(false)
      } finally {
        image.remove()
      }
    })

    it('is pushed again only in what changed, and mounts a published base from its own repository', async () => {
      const fresh = await startTestRegistry()
      try {
        const client = new RegistryClient({ registry: fresh.address, credential: { kind: 'anonymous' } })
        await publishImage({ client, repository: base.repository, tag: 'latest', image: base.image, files: base.files })
        await client.close()
        const path = source({ 'index.js': 'exports.main_handler = () => 1' })
        const push = (): Promise<BuildResult> =>
          testBuilder(home).build(
            { source: { kind: 'directory', path }, settings: { name: 'fresh' }, target: { registry: fresh.address } },
            AbortSignal.timeout(60_000),
          )
        const first = await push()
        expect(first.pushedBytes).toBeLessThan(10_000)
        expect(first.reusedBytes).toBe(base.image.layers.reduce((sum, { size }) => sum + size, 0))
        const second = await push()
        expect(second.digest).toBe(first.digest)
        expect(second.pushedBytes).toBeLessThan(2_000) // the manifest
        writeFileSync(join(path, 'index.js'), 'exports.main_handler = () => 2')
        const third = await push()
        expect(third.digest).not.toBe(first.digest)
        expect(third.image).toBe(`${fresh.address}/default/fresh@${third.digest}`)
      } finally {
        await fresh.close()
      }
    })
  })

  describe('a registry with tokens', () => {
    it('takes the push of who may write there; a base that may not be read is sent, one that may is mounted', async () => {
      const tokens = await startTokenRegistry()
      try {
        const admin = new RegistryClient({ registry: tokens.host, credential: tokens.admin })
        await publishImage({
          client: admin,
          repository: base.repository,
          tag: 'latest',
          image: base.image,
          files: base.files,
        })
        await admin.close()
        const path = source({ 'index.js': 'exports.main_handler = () => 1' })
        const push = async (user: string, grants: string[], repository: string): Promise<BuildResult> => {
          const credential = { kind: 'basic', username: user, password: await tokens.users.add(user, grants) } as const
          const builder = testBuilder(home, { credentials: { for: async () => credential } })
          const target = { registry: tokens.host, repository }
          return builder.build(
            { source: { kind: 'directory', path }, settings: { name: 'x' }, target },
            AbortSignal.timeout(60_000),
          )
        }
        const without = await push('narrow', ['pull,push:shop/*'], 'shop/one')
        expect(without.pushedBytes).toBeGreaterThan(10_000_000)
        const withBase = await push('wide', ['pull,push:shop/*', `pull:${base.repository}`], 'shop/two')
        expect(withBase.pushedBytes).toBeLessThan(10_000)
        expect(withBase.digest).toBe(without.digest)
        await expect(push('stranger', ['pull,push:other/*'], 'shop/three')).rejects.toMatchObject({
          code: expect.stringMatching(/^registry-(denied|unauthorized)$/),
        })
      } finally {
        await tokens.stop()
      }
    })
  })

  describe('the same input', () => {
    it('gives the same digest from another place, owner, order, clock, umask, zone and locale, with a cold cache', async () => {
      const first = await build(join(SAMPLES, 'node-with-dependency'))
      const copy = mkdtempSync(join(home, 'another place with a longer name-'))
      const names = readdirSync(join(SAMPLES, 'node-with-dependency')).toReversed()
      for (const name of names) {
        cpSync(join(SAMPLES, 'node-with-dependency', name), join(copy, name))
        chownSync(join(copy, name), 12345, 54321)
        chmodSync(join(copy, name), 0o600)
        utimesSync(join(copy, name), 1_000_000_000, 1_000_000_000)
      }
      const cold = mkdtempSync(join(home, 'cold-'))
      mkdirSync(join(cold, 'cache'))
      const child = await childBuild(cold, copy, {
        TZ: 'Pacific/Kiritimati',
        LC_ALL: 'tr_TR.UTF-8',
      }).digest
      expect(child).toBe(first.digest)
    })

    it('gives the same digest twice at the same time', async () => {
      const [one, two] = await Promise.all(
        [1, 2].map(() => build(join(SAMPLES, 'node-with-dependency'), { cold: true })),
      )
      expect(one?.digest).toBe(two?.digest)
      expect(one?.steps.map(({ name }) => name)).toEqual(['source', 'plan', 'dependencies', 'application', 'push'])
    })

    it('gives the digest that it gave before its dependencies were cached, without installing again', async () => {
      const events: BuildEvent[] = []
      const warm = await build(join(SAMPLES, 'node-with-dependency'), { events })
      expect(events.filter(({ step }) => step === 'dependencies').map(({ state }) => state)).toEqual([
        'started',
        'reused',
      ])
      expect(warm.digest).toBe((await build(join(SAMPLES, 'node-with-dependency'))).digest)
    })
  })

  /** A build in a process of its own under umask 077; `digest` settles with its end, `line` with its first line that matches. */
  function childBuild(childHome: string, path: string, env: Record<string, string>) {
    const command = `umask 077; exec "$@"`
    const child = spawn('sh', ['-c', command, 'sh', process.execPath, CHILD, childHome, registry.address, path], {
      stdio: ['ignore', 'pipe', 'inherit'],
      env: { ...process.env, ...env },
    })
    let text = ''
    child.stdout.on('data', (chunk: Buffer) => {
      text += chunk.toString()
    })
    const exited = new Promise<void>((resolve) => child.once('exit', () => resolve()))
    const digest = exited.then(() => (JSON.parse(text.trim().split('\n').at(-1) ?? '{}') as { digest?: string }).digest)
    const said = async (pattern: RegExp): Promise<void> => {
      while (!pattern.test(text) && child.exitCode === null) await new Promise((resolve) => setTimeout(resolve, 10))
    }
    return { child, digest, said, exited }
  }

  describe('dependencies', () => {
    it('without a lock file are resolved; the lock that comes back gives the same layers', async () => {
      const events: BuildEvent[] = []
      const path = source({
        'index.js': 'exports.main_handler = () => 1',
        'package.json': '{"dependencies":{"ms":"2.1.3"}}',
      })
      const result = await build(path, { events })
      expect(events.some(({ state, detail }) => state === 'note' && detail?.includes('there is no lock file'))).toBe(
        true,
      )
      expect(result.resolvedLock?.file).toBe('package-lock.json')
      const lock = JSON.parse(result.resolvedLock?.text ?? '{}') as { packages: Record<string, object> }
      expect(Object.keys(lock.packages)).toEqual(['', 'node_modules/ms'])
      writeFileSync(join(path, 'package-lock.json'), result.resolvedLock?.text ?? '')
      const locked: BuildEvent[] = []
      const again = await build(path, { events: locked })
      expect(locked.find(({ step, state }) => step === 'dependencies' && state === 'reused')).toBeDefined()
      expect(again.resolvedLock).toBeUndefined()
      nothingLeft()
    })

    it('that do not fit their lock file end the build in the words of npm', async () => {
      const lock = readFileSync(join(SAMPLES, 'node-with-dependency/package-lock.json'), 'utf8')
      const path = source({
        'index.js': '',
        'package.json': '{"name":"node-with-dependency","version":"1.0.0","dependencies":{"semver":"6.3.1"}}',
        'package-lock.json': lock,
      })
      await expect(build(path)).rejects.toMatchObject({
        code: 'dependencies-failed',
        message: expect.stringMatching(/npm ci: [^]*in sync/),
      })
      nothingLeft()
    })

    it('run no script of a package', async () => {
      const path = source({
        'index.js': '',
        'package.json':
          '{"scripts":{"preinstall":"touch /var/user/node_modules/ran","install":"exit 1"},"dependencies":{"ms":"2.1.3"}}',
      })
      await expect(build(path)).resolves.toMatchObject({ settings: { name: 'built' } })
    })
  })

  describe('an end before the end', () => {
    const slow = { 'index.js': '', 'package.json': '{"dependencies":{"ms":"2.1.3"}}' }

    it('by the caller stops the step and leaves nothing', async () => {
      const controller = new AbortController()
      const events: BuildEvent[] = []
      const building = build(source(slow), { cold: true, events, signal: controller.signal })
      const outcome = building.catch((thrown: unknown) => thrown)
      while (!events.some(({ step, state }) => step === 'dependencies' && state === 'note')) {
        await new Promise((resolve) => setTimeout(resolve, 10))
      }
      const startedMs = performance.now()
      controller.abort(new Error('no longer wanted'))
      expect(await outcome).toMatchObject({ message: 'no longer wanted' })
      expect(performance.now() - startedMs).toBeLessThan(10_000)
      for (const name of readdirSync(home).filter((entry) => entry.startsWith('cold-'))) nothingLeft(join(home, name))
    })

    it('by SIGKILL leaves what the next build sweeps', async () => {
      const childHome = mkdtempSync(join(home, 'killed-'))
      const path = source(slow)
      const { child, said, exited } = childBuild(childHome, path, {})
      await said(/there is no lock file/)
      child.kill('SIGKILL')
      await exited
      expect(readdirSync(join(childHome, 'builds'))).toHaveLength(1)
      await childBuild(childHome, path, {}).digest
      nothingLeft(childHome)
    })
  })

  describe('a hostile source', () => {
    it('is refused before anything is made or sent', async () => {
      const path = source({ 'index.js': '' })
      symlinkSync('/etc/shadow', join(path, 'secrets'))
      const events: BuildEvent[] = []
      await expect(build(path, { events })).rejects.toMatchObject({ code: 'source-outside' })
      expect(events.map(({ step, state }) => `${step} ${state}`)).toEqual(['source started', 'source failed'])
    })

    it('with a file named like a whiteout is refused: it would delete files of the base', async () => {
      await expect(build(source({ 'index.js': '', '.wh.index.js': '' }))).rejects.toMatchObject({
        code: 'layer-entry-invalid',
      })
    })

    it('with secrets is built without them, and says so', async () => {
      const path = source({ 'index.js': 'exports.main_handler = () => 1', '.env': 'CANARY=1' })
      mkdirSync(join(path, 'keys'))
      writeFileSync(join(path, 'keys/a.pem'), 'CANARY')
      const result = await build(path)
      expect(result.secrets).toEqual(['.env', 'keys/a.pem'])
      const image = await unpackImage(registry.address, 'default/built', result.digest, join(home, 'unpacked'))
      expect(image.layerNames.at(-1)).toEqual(['var/user/', 'var/user/index.js', 'var/user/keys/'])
      image.remove()
    })
  })
})
