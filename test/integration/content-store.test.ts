import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { gzipSync } from 'node:zlib'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { mountOverlay, run, unmount } from '../../common/index.ts'
import { digestHex, digestOf, MEDIA } from '../../oci/index.ts'
import { ContentHarness } from '../helpers/content-harness.ts'
import { type MadeImage, makeImage, makeIndex } from '../helpers/made-image.ts'
import { requireProgram } from '../helpers/programs.ts'
import { directory, file, makeTar } from '../helpers/tar-maker.ts'
import { describeTree } from '../helpers/tree-description.ts'

const canRun = requireProgram('setpriv', 'nice')
let harness: ContentHarness

beforeEach(async () => {
  harness = new ContentHarness()
  await harness.start()
})
afterEach(() => harness.close())

const smallTar = (name: string, bytes = 10): Buffer =>
  makeTar([directory('./'), file(name, Buffer.alloc(bytes, name.charCodeAt(0)))])
const smallImage = (...names: string[]): MadeImage => makeImage(names.map((name) => smallTar(name)))

describe.skipIf(!canRun)('pulling', () => {
  test.each(['gzip', 'zstd', 'none'] as const)('makes an image with %s layers local', async (compression) => {
    const store = await harness.open()
    const image = makeImage([smallTar('a'), smallTar('b')], compression)
    const result = await harness.pull(store, image)
    expect(result).toMatchObject({
      pulled: true,
      image: { manifestDigest: image.digest, config: { config: { Cmd: ['/x'] } } },
    })
    expect(result.downloadedBytes).toBe(image.layers.reduce((sum, { size }) => sum + size, 0))
    expect(result.image.layerDirectories.map((path) => readdirSync(path))).toEqual([['a'], ['b']])
  })

  test('reads Docker schema 2, and an index by the platform of this machine', async () => {
    const store = await harness.open()
    const docker = makeImage([smallTar('d')], 'gzip', true)
    expect((await harness.pull(store, docker)).image.manifestDigest).toBe(docker.digest)
    const image = smallImage('i')
    const index = makeIndex(image)
    expect((await harness.pull(store, index)).image.manifestDigest).toBe(image.digest)
    expect((await store.find(index.digest))?.manifestDigest).toBe(image.digest)
    expect((await store.find(image.digest))?.manifestDigest).toBe(image.digest)
  })

  test('asks the registry nothing when every layer is local, also after a restart', async () => {
    const image = smallImage('a', 'b')
    const first = await harness.open()
    await harness.pull(first, image)
    await first.close()
    harness.server.requests.length = 0
    const second = await harness.open()
    expect(await harness.pull(second, image)).toMatchObject({ pulled: false, downloadedBytes: 0 })
    expect(harness.server.requests).toEqual([])
  })

  test('fetches only the layers that are missing', async () => {
    const store = await harness.open()
    await harness.pull(store, smallImage('a', 'b'))
    harness.server.requests.length = 0
    const other = smallImage('a', 'c')
    await harness.pull(store, other)
    expect(harness.fetches(other)).toEqual([digestHex(other.layers[1]?.digest ?? digestOf(''))])
  })

  test('downloads once for many that wait', async () => {
    const store = await harness.open()
    const image = smallImage('a', 'b', 'c')
    await Promise.all(Array.from({ length: 20 }, () => harness.pull(store, image)))
    expect(harness.fetches(image).length).toBe(3)
  })

  test('downloads a layer once for images that share it', async () => {
    const store = await harness.open()
    const images = ['x', 'y', 'z'].map((name) => smallImage('base', name))
    const base = images[0]?.layers[0]?.digest ?? digestOf('')
    harness.server.intercept = (request, response, bytes) => {
      if (request.url?.includes(digestHex(base)) !== true) return false
      setTimeout(() => response.end(bytes), 300)
      return true
    }
    await Promise.all(images.map((image) => harness.pull(store, image)))
    expect(harness.server.requests.filter(({ path }) => path.includes(digestHex(base))).length).toBe(1)
  })

  test('goes on where a connection was cut', async () => {
    const store = await harness.open()
    const noise = Buffer.from(Array.from({ length: 3_000_000 }, (_, index) => (index * 2654435761) % 251))
    const image = makeImage([makeTar([file('noise', noise)])], 'none')
    let cuts = 3
    harness.server.intercept = (request, response, bytes) => {
      if (bytes.length < 3_000_000 || cuts === 0) return false
      cuts -= 1
      const from = Number(/bytes=([0-9]+)/.exec(request.headers.range ?? '')?.[1] ?? 0)
      const headers = {
        'content-length': bytes.length - from,
        'content-range': `bytes ${from}-${bytes.length - 1}/${bytes.length}`,
      }
      response.writeHead(from === 0 ? 200 : 206, headers)
      response.write(bytes.subarray(from, from + 700_000), () => response.socket?.resetAndDestroy())
      return true
    }
    const { image: local } = await harness.pull(store, image)
    expect(readFileSync(join(local.layerDirectories.at(-1) ?? '', 'noise')).equals(noise)).toBe(true)
    const ranges = harness.server.requests.flatMap(({ range }) => (range === undefined ? [] : [range]))
    expect(ranges.length).toBe(3)
    expect(ranges.every((range) => !range.startsWith('bytes=0-'))).toBe(true)
  })

  test('ends at the deadline, and when nobody waits any more, and leaves nothing', async () => {
    const store = await harness.open()
    const image = smallImage('slow')
    harness.server.add(image)
    harness.server.intercept = (_request, response, bytes) => {
      response.writeHead(200, { 'content-length': bytes.length })
      response.write(bytes.subarray(0, 1))
      return true
    }
    await expect(store.pull(harness.request(image.digest, 400))).rejects.toMatchObject({ code: 'pull-timeout' })
    const reason = new Error('given up')
    const pull = store.pull(harness.request(image.digest), AbortSignal.timeout(300)).catch((thrown: unknown) => thrown)
    expect(await pull).toMatchObject({ name: 'TimeoutError' })
    await expect(store.pull(harness.request(image.digest), AbortSignal.abort(reason))).rejects.toBe(reason)
    await sleep(200)
    expect(harness.layers()).toEqual([])
  })
})

describe.skipIf(!canRun)('what a registry may send', () => {
  /** The image with the bytes of its only layer replaced under their digest. */
  function forged(image: MadeImage, bytes: (real: Buffer) => Buffer): MadeImage {
    const digest = image.layers[0]?.digest ?? digestOf('')
    const real = image.blobs.get(digest)
    if (real === undefined) throw new Error('no layer')
    return { ...image, blobs: new Map([...image.blobs, [digest, { ...real, bytes: bytes(real.bytes) }]]) }
  }

  test.each<[string, (real: Buffer) => Buffer]>([
    ['other bytes of the same length', (real) => Buffer.alloc(real.length, 1)],
    ['another valid layer', () => gzipSync(smallTar('evil', 10), { level: 1 })],
    ['one bit changed in the middle', (real) => Buffer.from(real.map((byte, at) => (at === 40 ? byte ^ 1 : byte)))],
    ['more bytes than declared', (real) => Buffer.concat([real, Buffer.alloc(100)])],
    ['fewer bytes than declared', (real) => real.subarray(0, -5)],
  ])('refuses %s and shows no layer', async (_title, change) => {
    const store = await harness.open()
    const image = forged(smallImage('good'), change)
    await expect(harness.pull(store, image)).rejects.toMatchObject({ code: 'digest-mismatch' })
    expect(harness.layers()).toEqual([])
    expect(await store.find(image.digest)).toBeUndefined()
  })

  test('refuses a layer whose tar is not the one of its diff id', async () => {
    const store = await harness.open()
    const image = smallImage('good')
    const lying = makeImage([smallTar('good')])
    const config = JSON.stringify({
      os: 'linux',
      architecture: process.arch === 'arm64' ? 'arm64' : 'amd64',
      rootfs: { type: 'layers', diff_ids: [digestOf('x')] },
    })
    const manifest = {
      schemaVersion: 2,
      mediaType: MEDIA.ociManifest,
      config: { mediaType: MEDIA.ociConfig, digest: digestOf(config), size: config.length },
      layers: image.layers,
    }
    const bytes = Buffer.from(JSON.stringify(manifest))
    lying.blobs.set(digestOf(config), { bytes: Buffer.from(config), mediaType: MEDIA.ociConfig })
    lying.blobs.set(digestOf(bytes), { bytes, mediaType: MEDIA.ociManifest })
    await expect(harness.pull(store, { ...lying, digest: digestOf(bytes) })).rejects.toMatchObject({
      code: 'digest-mismatch',
    })
    expect(harness.layers()).toEqual([])
  })

  test('refuses damaged compression with the right digest as the fault of the image', async () => {
    const store = await harness.open()
    const broken = gzipSync(smallTar('x', 100_000), { level: 1 })
    broken.fill(0xff, 30, 60)
    const image = makeImage([smallTar('x')], 'none')
    const layer = { mediaType: MEDIA.ociLayerGzip, digest: digestOf(broken), size: broken.length }
    const manifest = Buffer.from(
      JSON.stringify({ ...JSON.parse(String(image.blobs.get(image.digest)?.bytes)), layers: [layer] }),
    )
    image.blobs.set(layer.digest, { bytes: broken, mediaType: layer.mediaType })
    image.blobs.set(digestOf(manifest), { bytes: manifest, mediaType: MEDIA.ociManifest })
    const pull = harness.pull(store, { ...image, digest: digestOf(manifest) })
    await expect(pull).rejects.toMatchObject({ code: 'image-invalid' })
  })

  test('stops a bomb at the limit, long before it is unpacked', async () => {
    const store = await harness.open({ limits: { maxLayerBytes: 50_000_000 } })
    const bomb = makeImage([makeTar([file('a', Buffer.alloc(30_000_000)), file('b', Buffer.alloc(30_000_000))])])
    await expect(harness.pull(store, bomb)).rejects.toMatchObject({ code: 'image-invalid' })
    expect(harness.layers()).toEqual([])
  })

  test('answers a full disk by its name and leaves nothing on it', async () => {
    const disk = mkdtempSync(join(harness.scratch, 'disk-'))
    await run('mount', ['-t', 'tmpfs', '-o', 'size=40m', 'none', disk])
    try {
      const store = await harness.open({ limits: { minFreeBytes: 0 } }, join(disk, 'content'))
      const image = makeImage([makeTar([file('big', Buffer.alloc(60_000_000, 7))])])
      await expect(harness.pull(store, image)).rejects.toMatchObject({ code: 'disk-full' })
      expect(readdirSync(join(disk, 'content/layers'))).toEqual([])
      expect((await run('find', [join(disk, 'content/work'), '-type', 'f'])).stdout).toBe('')
      await store.close()
    } finally {
      unmount(disk)
    }
  })

  test('mounts an image of 500 layers', async () => {
    const store = await harness.open()
    const image = makeImage(
      Array.from({ length: 500 }, (_, index) => makeTar([file(`f${index}`, String(index))])),
      'none',
    )
    const { image: local } = await harness.pull(store, image)
    const merged = join(harness.scratch, 'merged')
    mkdirSync(merged)
    mountOverlay(local.layerDirectories, merged)
    try {
      expect(readdirSync(merged).length).toBe(500)
    } finally {
      unmount(merged)
    }
  })
})

describe.skipIf(!canRun)('the content worker', () => {
  test('has a user of its own, five capabilities and no way to gain more, and runs at nice 10', async () => {
    const store = await harness.open()
    await harness.pull(store, smallImage('a'))
    const status = readFileSync(`/proc/${store.workerPid()}/status`, 'utf8')
    const field = (name: string): string => new RegExp(`^${name}:\\s*(.*)$`, 'm').exec(status)?.[1] ?? ''
    if (process.getuid?.() === 0) {
      expect(field('Uid')).toBe('64212\t64212\t64212\t64212')
      expect(['CapInh', 'CapPrm', 'CapEff', 'CapBnd', 'CapAmb'].map(field)).toEqual(
        Array.from({ length: 5 }, () => '000000008000001b'),
      )
    }
    expect(field('NoNewPrivs')).toBe('1')
    const fields = readFileSync(`/proc/${store.workerPid()}/stat`, 'utf8').split(') ')[1]?.split(' ') ?? []
    expect(fields[16]).toBe('10')
  })

  test('is told credentials by no argument, no variable and no file', async () => {
    const store = await harness.open()
    const image = smallImage('a')
    harness.server.add(image)
    const credential = { kind: 'basic' as const, username: 'someone', password: 'pass-7f3a9c' }
    await store.pull({ ...harness.request(image.digest), credential })
    const process = `/proc/${store.workerPid()}`
    expect(readFileSync(`${process}/cmdline`, 'latin1') + readFileSync(`${process}/environ`, 'latin1')).not.toContain(
      '7f3a9c',
    )
    await expect(run('grep', ['-r', '7f3a9c', harness.directory])).rejects.toMatchObject({ details: { exitCode: 1 } })
  })

  test('ends when it has been idle, and comes back when there is work', async () => {
    const store = await harness.open({ workerIdleMs: 100 })
    await harness.pull(store, smallImage('a'))
    const pid = store.workerPid()
    await expect.poll(() => existsSync(`/proc/${pid}`), { timeout: 5_000 }).toBe(false)
    expect(store.workerPid()).toBeUndefined()
    await harness.pull(store, smallImage('b'))
    expect(store.workerPid()).toBeDefined()
  })

  test('does its work again after it was killed, three times at most', async () => {
    const store = await harness.open()
    const image = smallImage('a', 'b')
    let kills = 2
    harness.server.intercept = () => {
      if (kills === 0) return false
      kills -= 1
      process.kill(store.workerPid() ?? 0, 'SIGKILL')
      return true
    }
    const { image: local } = await harness.pull(store, image)
    expect(local.layerDirectories.map((path) => readdirSync(path))).toEqual([['a'], ['b']])
    kills = 3
    await expect(harness.pull(store, smallImage('c'))).rejects.toMatchObject({ code: 'pull-failed' })
  })
})

describe.skipIf(!canRun)('collecting', () => {
  const all = { maxBytes: 0, minAgeMs: 0 }

  test('removes what nobody leases and keeps what somebody does, by index or by manifest', async () => {
    const store = await harness.open()
    const [kept, gone] = [smallImage('base', 'kept'), smallImage('base', 'gone')]
    const index = makeIndex(kept)
    await harness.pull(store, index)
    await harness.pull(store, gone)
    const lease = await store.lease(index.digest, 'instance-1')
    expect(await store.collect(all)).toMatchObject({ removedLayers: 1 })
    expect(await store.find(gone.digest)).toBeUndefined()
    expect(await store.find(kept.digest)).toBeDefined()
    lease.release()
    expect(await store.collect(all)).toMatchObject({ removedLayers: 2 })
    expect(harness.layers()).toEqual([])
    for (const place of ['blobs/sha256', 'images', 'trash', 'leases']) {
      expect(readdirSync(join(harness.directory, place))).toEqual([])
    }
  })

  test('knows leases taken by an earlier process, and ends those of an owner', async () => {
    const image = smallImage('a')
    const first = await harness.open()
    await harness.pull(first, image)
    await first.lease(image.digest, 'build/7,x')
    await first.lease(image.digest, 'build/7,x')
    await first.lease(image.digest, 'instance-2')
    await first.close()
    const second = await harness.open()
    expect(second.owners().sort()).toEqual(['build/7,x', 'instance-2'])
    await second.collect(all)
    second.releaseOwner('build/7,x')
    expect(second.owners()).toEqual(['instance-2'])
    expect(await second.find(image.digest)).toBeDefined()
    second.releaseOwner('instance-2')
    await second.collect(all)
    expect(await second.find(image.digest)).toBeUndefined()
  })

  test('keeps the layers of a pull that another process has under way', async () => {
    const store = await harness.open()
    const image = smallImage('first', 'second')
    const lastLayer = digestHex(image.layers[1]?.digest ?? digestOf(''))
    let answerLast = (): void => undefined
    harness.server.intercept = (request, response, bytes) => {
      if (request.url?.includes(lastLayer) !== true) return false
      answerLast = () => response.end(bytes)
      return true
    }
    const child = harness.spawnPull(image)
    const ended = new Promise((resolve) => child.once('exit', resolve))
    await expect.poll(() => harness.layers().length, { timeout: 20_000 }).toBe(1)
    expect(await store.collect(all)).toEqual({ removedBytes: 0, removedLayers: 0 })
    answerLast()
    expect(await ended).toBe(0)
    expect((await store.find(image.digest))?.layerDirectories.length).toBe(2)
  })

  test('drops layers of an earlier boot that may not have reached the disk, and keeps those that did', async () => {
    const store = await harness.open()
    const image = smallImage('a', 'b')
    await harness.pull(store, image)
    const [lost = '', safe = ''] = harness.layers().map((name) => join(harness.directory, 'layers', name))
    await expect
      .poll(() => existsSync(join(safe, 'durable')) && existsSync(join(lost, 'durable')), { timeout: 20_000 })
      .toBe(true)
    await store.close()
    for (const path of [lost, safe])
      await run('sed', ['-i', 's/"bootId":"[^"]*"/"bootId":"earlier"/', join(path, 'layer.json')])
    await run('rm', [join(lost, 'durable')])
    const next = await harness.open()
    expect(harness.layers()).toEqual([safe.split('/').at(-1)])
    expect(await next.find(image.digest)).toBeUndefined()
    expect((await harness.pull(next, image)).downloadedBytes).toBeGreaterThan(0)
    expect(describeTree(join(lost, 'tree')).length).toBe(2)
  })
})
