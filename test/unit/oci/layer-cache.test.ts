import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { gunzipSync } from 'node:zlib'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { digestOf, LayerCache, type LayerEntry, treeEntries } from '../../../oci/index.ts'

let home: string
let cache: LayerCache

beforeEach(() => {
  home = mkdtempSync(join(tmpdir(), 'slipway-layers-'))
  cache = new LayerCache(join(home, 'layers'))
})
afterEach(() => rmSync(home, { recursive: true }))

const entries: LayerEntry[] = [{ kind: 'file', path: 'a', content: Buffer.from('text') }]

/** Makes a layer look as if it was used so long ago. */
function age(hours: number): void {
  const then = new Date(Date.now() - hours * 3_600_000)
  for (const name of readdirSync(join(home, 'layers'))) utimesSync(join(home, 'layers', name), then, then)
}

describe('layers that were made before', () => {
  it('are found by a key of equal meaning, with what was remembered of them', async () => {
    expect(cache.find({ a: 1, b: 2 })).toBeUndefined()
    const written = await cache.write({ a: 1, b: 2 }, entries, { by: 'test' })
    const found = new LayerCache(join(home, 'layers')).find({ b: 2, a: 1 })
    expect(found).toEqual(written)
    expect(found?.facts).toEqual({ by: 'test' })
    const bytes = readFileSync(found?.file ?? '')
    expect(digestOf(bytes)).toBe(found?.descriptor.digest)
    expect(digestOf(gunzipSync(bytes))).toBe(found?.diffId)
    expect(cache.find({ a: 1, b: 3 })).toBeUndefined()
  })

  it('are not found when their file is cut or gone', async () => {
    const { file } = await cache.write('key', entries)
    truncateSync(file, 10)
    expect(cache.find('key')).toBeUndefined()
    rmSync(file)
    expect(cache.find('key')).toBeUndefined()
  })

  it('made twice at once are one', async () => {
    const [one, two] = await Promise.all([cache.write('key', entries), cache.write('key', entries)])
    expect(one).toEqual(two)
    expect(readdirSync(join(home, 'layers'))).toHaveLength(2)
  })

  it('go when they were used longest ago, but none of the last hour', async () => {
    await cache.write('old', entries)
    age(30)
    await cache.write('new', entries)
    cache.trim(1)
    expect([cache.find('old'), cache.find('new')?.descriptor.size]).toEqual([undefined, expect.any(Number)])
    age(2)
    cache.trim(1_000_000)
    expect(cache.find('new')).toBeDefined()
    age(2)
    cache.trim(1)
    expect(readdirSync(join(home, 'layers'))).toEqual([])
  })
})

describe('the entries of a directory of ours', () => {
  it('follow no link, keep modes only where asked, and leave out what is not wanted with all below it', () => {
    mkdirSync(join(home, 'tree/skip'), { recursive: true })
    mkdirSync(join(home, 'tree/dir'))
    writeFileSync(join(home, 'tree/skip/x'), '')
    writeFileSync(join(home, 'tree/dir/run'), '', { mode: 0o700 })
    symlinkSync('/etc', join(home, 'tree/link'))
    const keep = (path: string): boolean => path !== 'skip'
    const normal = treeEntries(join(home, 'tree'), { owners: 'normal', prefix: 'var', keep })
    expect(normal.toSorted((a, b) => (a.path < b.path ? -1 : 1))).toEqual([
      { kind: 'directory', path: 'var/dir', mode: 0o755 },
      { kind: 'file', path: 'var/dir/run', mode: 0o755, content: { file: join(home, 'tree/dir/run') } },
      { kind: 'symlink', path: 'var/link', target: '/etc' },
    ])
    const exact = treeEntries(join(home, 'tree'), { owners: 'exact' }).find(({ path }) => path === 'dir/run')
    expect(exact).toMatchObject({ mode: 0o700, uid: process.getuid?.() })
  })
})
