import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { execa } from 'execa'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { RegistryCollected, RegistryImage } from '../../api/index.ts'
import { type Descriptor, digestOf, MEDIA, RegistryClient } from '../../oci/index.ts'
import { requireDocker, startTestDockerd, type TestDockerd } from '../helpers/dockerd.ts'
import { Platform, PROJECT } from '../helpers/platform.ts'
import { requireProgram } from '../helpers/programs.ts'
import { pushSample } from '../helpers/registry-fixture.ts'

const HANDLER = (version: number): string => `exports.main_handler = async ({ waitMs = 0 }) => {
  await new Promise((resolve) => setTimeout(resolve, waitMs))
  return { version: ${version} }
}
`
/** What is pushed without a tag before is old enough to go, what is pushed after it is not. */
const UNTAGGED_S = 2

describe.skipIf(!requireProgram('docker-registry', 'docker') || !(await requireDocker()))(
  'the local registry of a platform',
  () => {
    let platform: Platform
    let docker: TestDockerd
    let home: string
    let source: string
    let password: string
    let client: RegistryClient
    beforeAll(async () => {
      platform = await Platform.start('runc', { sandboxes: 0 })
      docker = await startTestDockerd({ own: true })
      home = mkdtempSync(join(tmpdir(), 'slipway-collection-'))
      source = join(home, 'source')
      mkdirSync(source)
      const user = await platform.cli('registry', 'user', 'add', 'ci', '--allow', 'pull,push,delete:*')
      password = String(user['password'])
      client = connect()
    })
    afterAll(async () => {
      await client?.close()
      await docker?.close()
      if (home !== undefined) rmSync(home, { recursive: true, force: true })
      await platform?.stop()
    })

    const host = (): string => `127.0.0.1:${platform.registryPort}`
    const connect = () =>
      new RegistryClient({ registry: host(), credential: { kind: 'basic', username: 'ci', password } })
    const askToken = (scope: string) =>
      fetch(`${platform.url}/registry/token?service=slipway-registry&scope=${scope}`, {
        headers: { authorization: `Basic ${Buffer.from(`ci:${password}`).toString('base64')}` },
      })
    const images = async (repository: string) =>
      (await platform.cli<{ images: RegistryImage[] }>('registry', 'list', repository)).images
    const deploy = async (version: number) => {
      writeFileSync(join(source, 'index.js'), HANDLER(version))
      return platform.cli('deploy', source, '--name', 'used', '--timeout', '120')
    }

    /** `slipway registry gc`, seen while it runs. */
    function collect() {
      const args = [join(PROJECT, 'cli/main.ts'), 'registry', 'gc', '--untagged', `${UNTAGGED_S}s`, '-o', 'json']
      const child = execa(process.execPath, args, { env: platform.environment, extendEnv: false, reject: false })
      let stderr = ''
      child.stderr.on('data', (chunk: Buffer) => (stderr += chunk.toString('utf8')))
      let isOver = false
      void child.finally(() => (isOver = true))
      const reached = async (step: string): Promise<void> => {
        while (!stderr.includes(`${step}: `)) {
          if (isOver) throw new Error(`it ended before ${step}: ${stderr}`)
          await sleep(10)
        }
      }
      return { child, reached }
    }

    it('goes on with a new signing key that a command made', async () => {
      const before = platform.state()?.registry?.pid
      await pushSample(client, 'team/rotated')
      const key = await platform.cli<{ rotatedAtMs: number; notAfterMs: number }>('registry', 'rotate-keys')
      expect(key.notAfterMs - key.rotatedAtMs).toBe(48 * 3_600_000)
      await client.resolve({ repository: 'team/rotated', tag: 'v1' })
      const fresh = connect()
      await fresh.resolve({ repository: 'team/rotated', tag: 'v1' })
      await fresh.close()
      expect(platform.state()?.registry?.pid).toBe(before)
    })

    it('is open for pushes after a collection that kill -9 of the server cut off', {
      timeout: 60_000,
    }, async () => {
      const { child, reached } = collect()
      await reached('paused')
      expect((await askToken('repository:team/a:pull,push')).status).toBe(503)
      process.kill(platform.state()?.server?.pid ?? 0, 'SIGKILL')
      const { exitCode, stderr } = await child
      expect(exitCode).not.toBe(0)
      expect(stderr).toContain('the registry takes pushes again when the server is back')
      await pushSample(client, 'team/open')
    })

    it('is collected of what nothing refers to while pushes go on, though the supervisor is killed in the middle of it', {
      timeout: 180_000,
    }, async () => {
      const old = await pushOldThings(client)
      await deploy(1)
      const [first] = await images('default/used')
      const running = platform.invoke('used', { waitMs: 80_000 })
      while ((await platform.cli<{ instances: object[] }>('instances', 'list', 'used')).instances.length === 0) {
        await sleep(100)
      }
      await deploy(2)
      await sleep(UNTAGGED_S * 1_000)
      const unfinished = Buffer.from('a layer whose manifest could not be sent any more')
      await client.uploadBlob('team/unfinished', layerOf(Buffer.from('first')), Buffer.from('first'))
      await importImage('team/docker:1')

      const { child, reached } = collect()
      await reached('paused')
      // With the bearer that it has already.
      await client.uploadBlob('team/unfinished', layerOf(unfinished), unfinished)
      const refused = await askToken('repository:team/a:pull,push')
      expect(refused.status).toBe(503)
      expect(Number(refused.headers.get('retry-after'))).toBeGreaterThan(30)
      expect(await refused.json()).toMatchObject({
        errors: [{ code: 'UNAVAILABLE', message: expect.stringContaining('the registry is being collected') }],
      })
      expect((await askToken('repository:team/a:pull')).status).toBe(200)
      expect(await platform.run('registry', 'gc').catch(String)).toContain('[registry-collecting]')

      await sleep(14_000) // docker gives up after 50 s
      const pushes = Promise.all([runDocker('push', `${host()}/team/docker:1`), deploy(3)])
      await reached('collecting')
      process.kill(platform.state()?.supervisor.pid ?? 0, 'SIGKILL')
      const { exitCode, stdout, stderr } = await child
      expect(exitCode, stderr).toBe(0)
      const result = JSON.parse(stdout) as RegistryCollected
      expect(result.freedBytes).toBeGreaterThanOrEqual(old.removable.reduce((sum, bytes) => sum + bytes, 0))
      expect(result.pausedMs).toBeLessThan(90_000)
      await pushes

      for (const gone of old.gone) {
        await expect(client.readManifest('team/old', gone)).rejects.toMatchObject({ code: 'image-not-found' })
      }
      for (const kept of old.kept) await client.readManifest('team/old', kept)
      expect(await client.readBlob('team/old', old.childLayer)).toHaveLength(old.childLayer.size)
      expect(await client.hasBlob('team/unfinished', layerOf(unfinished))).toBe(true)
      expect((await images('team/docker')).map(({ tags }) => tags)).toEqual([['1']])
      // No function has the first image any more, but an instance ran of it all the while.
      expect((await images('default/used')).map(({ digest }) => digest)).toContain(first?.digest)
      expect((await running).body).toMatchObject({ result: { version: 1 } })
      expect((await platform.invoke('used', {})).body).toMatchObject({ result: { version: 3 } })
      expect((await images('default/used'))[0]).toMatchObject({
        tags: ['latest'],
        usedBy: [{ namespace: 'default', function: 'used' }],
      })
    })

    async function importImage(name: string): Promise<void> {
      const archive = await execa('tar', ['-C', source, '-c', 'index.js'], { encoding: 'buffer' })
      await runDocker('login', '-u', 'ci', '-p', password, host())
      const input = Buffer.from(archive.stdout)
      await execa('/usr/bin/docker', ['import', '-', `${host()}/${name}`], { env: dockerEnvironment(), input })
    }

    const dockerEnvironment = () => ({
      DOCKER_HOST: `unix://${docker.socketPath}`,
      DOCKER_CONFIG: join(home, 'docker'),
    })
    const runDocker = (...args: string[]) => execa('/usr/bin/docker', args, { env: dockerEnvironment() })
  },
)

/** Images of `team/old`, by what a collection must do with them. */
async function pushOldThings(client: RegistryClient) {
  const repository = 'team/old'
  const put = async (content: object, name?: string) => {
    const bytes = Buffer.from(JSON.stringify(content))
    const { mediaType } = content as { mediaType: string }
    await client.putManifest(repository, name ?? digestOf(bytes), mediaType, bytes)
    return { mediaType, digest: digestOf(bytes), size: bytes.length }
  }
  const image = async (text: string, name?: string, more: object = {}) => {
    const [config, layer] = [Buffer.from(JSON.stringify({ text })), Buffer.from(`layer of ${text}`)]
    const configOf = { ...layerOf(config), mediaType: MEDIA.ociConfig }
    await client.uploadBlob(repository, configOf, config)
    await client.uploadBlob(repository, layerOf(layer), layer)
    const layers = [layerOf(layer)]
    const manifest = await put(
      { schemaVersion: 2, mediaType: MEDIA.ociManifest, config: configOf, layers, ...more },
      name,
    )
    return { manifest, layer: layerOf(layer), bytes: config.length + layer.length }
  }
  const untagged = await image('untagged')
  const replaced = await image('replaced', 'latest')
  const tagged = await image('tagged', 'latest')
  const child = await image('child of an index')
  const index = await put({ schemaVersion: 2, mediaType: MEDIA.ociIndex, manifests: [child.manifest] }, 'index')
  const signature = await image('signature', undefined, { subject: index })
  const orphaned = await image('signature of what goes', undefined, { subject: untagged.manifest })
  return {
    gone: [untagged, replaced, orphaned].map(({ manifest }) => manifest.digest),
    kept: [index.digest, ...[tagged, child, signature].map(({ manifest }) => manifest.digest)],
    removable: [untagged, replaced, orphaned].map(({ bytes }) => bytes),
    childLayer: child.layer,
  }
}

function layerOf(bytes: Buffer): Descriptor {
  return { mediaType: MEDIA.ociLayerTar, digest: digestOf(bytes), size: bytes.length }
}
