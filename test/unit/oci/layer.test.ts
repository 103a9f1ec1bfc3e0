import {
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
import { PassThrough, Readable, Writable } from 'node:stream'
import { buffer } from 'node:stream/consumers'
import { pipeline } from 'node:stream/promises'
import { gunzipSync } from 'node:zlib'
import * as fc from 'fast-check'
import { extract, type Header } from 'tar-stream'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import {
  digestOf,
  FIXED_TIME_S,
  type LayerEntry,
  type LayerOptions,
  normalMode,
  writeLayer,
  writeLayerFile,
} from '../../../oci/index.ts'

let home: string
beforeAll(() => {
  home = mkdtempSync(join(tmpdir(), 'slipway-layer-'))
})
afterAll(() => rmSync(home, { recursive: true, force: true }))

async function write(entries: readonly LayerEntry[], options?: LayerOptions) {
  const sink = new PassThrough()
  const [written, bytes] = await Promise.all([writeLayer(entries, sink, options), buffer(sink)])
  return { written, bytes }
}

async function list(tar: Buffer): Promise<{ header: Header; body: string }[]> {
  const entries: { header: Header; body: string }[] = []
  const reader = extract()
  const fed = pipeline(Readable.from([tar]), reader)
  for await (const entry of reader) {
    const chunks: Uint8Array[] = []
    for await (const chunk of entry as AsyncIterable<Uint8Array>) chunks.push(chunk)
    entries.push({ header: entry.header, body: Buffer.concat(chunks).toString() })
  }
  await fed
  return entries
}

const file = (path: string, content = path): LayerEntry => ({ kind: 'file', path, content: Buffer.from(content) })
const sample: LayerEntry[] = [
  { kind: 'hardlink', path: 'a/0-link', target: 'a/z' },
  file('a/z'),
  file('a-b'),
  { kind: 'directory', path: 'a' },
  { kind: 'symlink', path: 'a/up', target: '../../etc' },
  { kind: 'file', path: 'run', mode: 0o755, uid: 1000, gid: 1001, content: Buffer.from('#!') },
  file(`long/${'é'.repeat(150)}`, 'x'),
]

describe('a layer', () => {
  it('holds its entries by the bytes of their paths, hard links last, with one time and owners without names', async () => {
    const { bytes } = await write(sample)
    const entries = await list(gunzipSync(bytes))
    const names = entries.map(({ header }) => header.name)
    expect(names).toEqual(
      ['a', 'a-b', 'a/up', 'a/z', `long/${'é'.repeat(150)}`, 'run', 'a/0-link'].map((name) =>
        name === 'a' ? 'a/' : name,
      ),
    )
    expect(new Set(entries.map(({ header }) => header.mtime.getTime()))).toEqual(new Set([FIXED_TIME_S * 1000]))
    expect(entries.map(({ header }) => header.uname + header.gname).join('')).toBe('')
    const run = entries.find(({ header }) => header.name === 'run')
    expect(run).toMatchObject({ header: { mode: 0o755, uid: 1000, gid: 1001, size: 2, type: 'file' }, body: '#!' })
    expect(entries.at(-1)?.header).toMatchObject({ type: 'link', linkname: 'a/z' })
  })

  it('has the same bytes whatever the order of its entries, and another digest for another time', async () => {
    const first = await write(sample)
    const second = await write(sample.toReversed())
    expect(second.bytes.equals(first.bytes)).toBe(true)
    expect(second.written).toEqual(first.written)
    expect((await write(sample, { timeS: 1 })).written.diffId).not.toBe(first.written.diffId)
  })

  it('is described by the digests and sizes of its compressed and plain bytes', async () => {
    const { written, bytes } = await write(sample)
    const plain = gunzipSync(bytes)
    expect(written).toEqual({
      descriptor: {
        mediaType: 'application/vnd.oci.image.layer.v1.tar+gzip',
        digest: digestOf(bytes),
        size: bytes.length,
      },
      diffId: digestOf(plain),
      uncompressedBytes: plain.length,
    })
  })

  it('begins with a gzip header without time, of one system on every machine', async () => {
    const { bytes } = await write([])
    expect(bytes.subarray(0, 10).toString('hex')).toBe('1f8b0800000000000003')
  })

  it('takes small and large files as they are, without their own times', async () => {
    const large = Buffer.alloc(3 * 1024 * 1024, 'abcdefg')
    writeFileSync(join(home, 'large'), large)
    writeFileSync(join(home, 'small'), 'small')
    writeFileSync(join(home, 'empty'), '')
    const names = ['large', 'small', 'empty']
    const entries = names.map((name): LayerEntry => ({ kind: 'file', path: name, content: { file: join(home, name) } }))
    const before = await write(entries)
    for (const name of names) utimesSync(join(home, name), 1, 1)
    const after = await write(entries)
    expect(after.written).toEqual(before.written)
    const bodies = await list(gunzipSync(after.bytes))
    expect(bodies.map(({ body }) => body.length)).toEqual([0, large.length, 5])
    expect(bodies[1]?.body).toBe(large.toString())
  })

  it('is in its file whole, and its file is not there when it fails', async () => {
    const path = join(home, 'layers', 'a.tar.gz')
    mkdirSync(join(home, 'layers'))
    const written = await writeLayerFile(sample, path)
    expect(digestOf(readFileSync(path))).toBe(written.descriptor.digest)
    rmSync(path)
    const failing: LayerEntry[] = [file('a'), { kind: 'file', path: 'b', content: { file: join(home, 'absent') } }]
    await expect(writeLayerFile(failing, path)).rejects.toMatchObject({ code: 'source-changed' })
    await expect(writeLayerFile(sample, path, { signal: AbortSignal.abort(new Error('stop')) })).rejects.toThrow('stop')
    expect(readdirSync(join(home, 'layers'))).toEqual([])
  })

  it('fails with the reason of its destination', async () => {
    const full = new Writable({ write: (_chunk, _encoding, done) => done(new Error('no space')) })
    const many = Array.from({ length: 2000 }, (_, number) => file(`f/${number}`, 'x'.repeat(2000) + number))
    await expect(writeLayer(many, full)).rejects.toThrow('no space')
  })

  it('refuses what is no regular file, and does not follow symbolic links', async () => {
    symlinkSync('/etc/passwd', join(home, 'link'))
    const wrong = ['link', '.'].map((name) => write([{ kind: 'file', path: 'a', content: { file: join(home, name) } }]))
    for (const outcome of wrong) await expect(outcome).rejects.toMatchObject({ code: 'source-changed' })
  })

  const invalid: [string, LayerEntry[]][] = [
    ['an absolute path', [file('/a')]],
    ['a path that goes up', [file('a/../b')]],
    ['a path with an empty part', [file('a//b')]],
    ['an empty path', [file('')]],
    ['a path with a NUL', [file('a\0b')]],
    ['a path that is no text', [file('a\ud800')]],
    ['a path twice', [file('a'), file('a', 'other')]],
    ['a name that would be read as a whiteout', [file('etc/.wh.passwd')]],
    ['an opaque mark', [file('etc/.wh..wh..opq')]],
    ['a hard link to what is not in it', [{ kind: 'hardlink', path: 'a', target: 'etc/passwd' }]],
    ['a symbolic link to nothing', [{ kind: 'symlink', path: 'a', target: '' }]],
    ['a mode with more than permission bits', [{ kind: 'file', path: 'a', mode: 0o100644, content: Buffer.from('') }]],
    ['an owner that tar cannot hold', [{ kind: 'directory', path: 'a', uid: 3_000_000 }]],
  ]
  it.each(invalid)('refuses %s', async (_title, entries) => {
    await expect(write(entries)).rejects.toMatchObject({ code: 'layer-entry-invalid' })
  })

  it('gives back any name and content', async () => {
    const name = fc
      .string({ unit: 'binary', minLength: 1, maxLength: 300 })
      .filter((text) => !/[/\0]|^\.{1,2}$|^\.wh\./u.test(text) && text.isWellFormed())
    const contents = fc.dictionary(name, fc.string({ unit: 'binary', maxLength: 600 }), {
      maxKeys: 5,
      noNullPrototype: true,
    })
    await fc.assert(
      fc.asyncProperty(contents, async (files) => {
        const { bytes } = await write(Object.entries(files).map(([path, content]) => file(path, content)))
        const entries = await list(gunzipSync(bytes))
        const read = Object.fromEntries(entries.map(({ header, body }) => [header.name, body]))
        const expected = Object.entries(files).map(([path, content]) => [path, Buffer.from(content).toString()])
        expect(read).toEqual(Object.fromEntries(expected))
      }),
      { numRuns: 50 },
    )
  })
})

it('a mode in a layer is 0755 for what its owner may execute and for directories, else 0644', () => {
  expect([0o700, 0o644, 0o600, 0o611, 0o104775].map((mode) => normalMode(mode, 'file').toString(8))).toEqual([
    '755',
    '644',
    '644',
    '644',
    '755',
  ])
  expect(normalMode(0o700, 'directory')).toBe(0o755)
})
