import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { TarEntry } from '../../../content/tar-entry.ts'
import { TarParser } from '../../../content/tar-parser.ts'
import { file, type MadeEntry, makeTar, paxRecord, symlink } from '../../helpers/tar-maker.ts'

interface Seen {
  entry: TarEntry
  pieces: { position: number; bytes: Buffer }[]
}

function parse(tar: Buffer, chunkBytes = tar.length): Seen[] {
  const seen: Seen[] = []
  const parser = new TarParser({
    entry: (entry) => seen.push({ entry, pieces: [] }),
    data: (chunk, position) => seen.at(-1)?.pieces.push({ position, bytes: Buffer.from(chunk) }),
    end: () => undefined,
  })
  for (let at = 0; at < tar.length; at += chunkBytes) parser.write(tar.subarray(at, at + chunkBytes))
  parser.finish()
  return seen
}

function contentOf({ entry, pieces }: Seen): Buffer {
  const content = Buffer.alloc(entry.sizeBytes)
  for (const { position, bytes } of pieces) bytes.copy(content, position)
  return content
}

const octal = (value: number): string => `${value.toString(8).padStart(11, '0')}\0`

describe('TarParser', () => {
  test('reads back what was written, however the bytes arrive', { timeout: 60_000 }, () => {
    const name = fc.stringMatching(/^[a-zé日/.]{1,150}$/)
    const made = fc.record({
      name,
      content: fc.uint8Array({ maxLength: 1500 }).map((bytes) => Buffer.from(bytes)),
      mode: fc.integer({ min: 0, max: 0o7777 }),
      uid: fc.integer({ min: 0, max: 0xffff_fffe }),
      gid: fc.integer({ min: 0, max: 0xffff_fffe }),
      mtime: fc.integer({ min: -(2 ** 35), max: 2 ** 35 }),
      format: fc.constantFrom('ustar' as const, 'gnu' as const),
    })
    fc.assert(
      fc.property(fc.array(made, { maxLength: 8 }), fc.integer({ min: 1, max: 3000 }), (entries, chunkBytes) => {
        const files = entries.filter((entry) => !entry.name.endsWith('/'))
        const seen = parse(makeTar(files), chunkBytes)
        expect(seen.map(({ entry }) => ({ ...entry, modified: entry.modified.seconds }))).toEqual(
          files.map(({ name: path, content, mode, uid, gid, mtime }) => ({
            type: 'file',
            path: Buffer.from(path).toString('latin1'),
            linkPath: '',
            mode,
            uid,
            gid,
            sizeBytes: content.length,
            modified: mtime,
            xattrs: undefined,
            segments: undefined,
          })),
        )
        expect(seen.map(contentOf)).toEqual(files.map(({ content }) => content))
      }),
      { numRuns: 200 },
    )
  })

  test('never throws anything but a refusal on bytes that were changed', { timeout: 60_000 }, () => {
    const tar = makeTar([
      file('a', 'some text', { pax: { mtime: '1.5', 'SCHILY.xattr.user.a': 'v' } }),
      symlink('b', 'a'),
    ])
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.nat({ max: tar.length - 1 }), fc.nat({ max: 255 })), { maxLength: 6 }),
        fc.nat({ max: tar.length }),
        (changes, length) => {
          const copy = Buffer.from(tar)
          for (const [at, value] of changes) copy[at] = value
          try {
            parse(copy.subarray(0, length), 700)
          } catch (thrown) {
            expect(thrown).toMatchObject({ code: 'image-invalid' })
          }
        },
      ),
      { numRuns: 500 },
    )
  })

  const sparse = [0, 4, 10_000, 4, 20_000, 0]
  const expected = Buffer.alloc(20_000)
  expected.write('head', 0)
  expected.write('tail', 10_000)

  test('reads the old sparse format of GNU tar, also with its map in further blocks', () => {
    const inHeader: MadeEntry = {
      ...file('old', 'headtail', { type: 'S', format: 'gnu' }),
      patch: [
        [386, Buffer.from(sparse.map(octal).join(''), 'latin1')],
        [483, Buffer.from(octal(20_000), 'latin1')],
      ],
    }
    expect(parse(makeTar([inHeader])).map(contentOf)).toEqual([expected])

    const pairs = Array.from({ length: 30 }, (_, index) => [index * 100, 1])
    const further = Buffer.alloc(512 * 2)
    further.write(pairs.slice(4, 25).flat().map(octal).join(''), 0, 'latin1')
    further[504] = 1
    further.write(pairs.slice(25).flat().map(octal).join(''), 512, 'latin1')
    const [header = Buffer.alloc(0), data = Buffer.alloc(0)] = splitAtHeader(
      makeTar([
        {
          ...file('many', 'x'.repeat(30), { type: 'S', format: 'gnu' }),
          patch: [
            [386, Buffer.from(pairs.slice(0, 4).flat().map(octal).join(''), 'latin1')],
            [482, Buffer.from([1])],
            [483, Buffer.from(octal(3_000), 'latin1')],
          ],
        },
      ]),
    )
    const [seen] = parse(Buffer.concat([header, further, data]), 100)
    expect(seen?.pieces.map(({ position }) => position)).toEqual(pairs.map(([offset]) => offset))
    expect(seen?.entry.sizeBytes).toBe(3_000)
  })

  const refused: [title: string, tar: () => Buffer, message: string][] = [
    [
      'a wrong checksum',
      () => makeTar([file('a', 'x', { badChecksum: true })]),
      'the checksum of a tar header is wrong',
    ],
    [
      'an end inside an entry',
      () => makeTar([file('a', 'x'.repeat(2000))]).subarray(0, 1500),
      'the tar ends in the middle of an entry',
    ],
    [
      'a header after the end mark',
      () => Buffer.concat([Buffer.alloc(512), makeTar([file('a')])]),
      'the tar goes on after its end mark',
    ],
    ['an unknown type', () => makeTar([file('a', '', { type: 'V' })]), 'unknown entry type "V"'],
    [
      'a size that is not octal',
      () => makeTar([file('a', '', { patch: [[124, Buffer.from('12x')]] })]),
      'a number in a tar header is not octal',
    ],
    ['a negative size', () => makeTar([file('a', '', { size: -512 })]), 'an entry has an impossible size'],
    [
      'a size beyond what a number holds',
      () => makeTar([file('a', '', { patch: [[124, Buffer.alloc(12, 0xbf)]] })]),
      'a number in a tar header is too large',
    ],
    ['a name of more than 4,096 bytes', () => makeTar([file('n'.repeat(4097))]), 'a name is longer than 4096 bytes'],
    ['a NUL in a name', () => makeTar([file('x', '', { pax: { path: 'a\0b' } })]), 'a name holds a NUL byte'],
    ['an owner of -1', () => makeTar([file('x', '', { pax: { uid: '4294967295' } })]), 'an owner is out of range'],
    [
      'an extended header of more than 1 MiB',
      () => makeTar([file('x', '', { pax: { comment: 'c'.repeat(1_100_000) } })]),
      'an extended header is longer than 1048576 bytes',
    ],
    [
      'an extended header whose lengths lie',
      () => makeTar([{ name: 'p', type: 'x', content: '99 path=a\n' }]),
      'an extended header is malformed',
    ],
    [
      'an extended header without an entry',
      () => makeTar([{ name: 'p', type: 'x', content: paxRecord('path', 'a') }], { end: false }),
      'the tar ends in the middle of an entry',
    ],
    [
      'a time that is none',
      () => makeTar([file('x', '', { pax: { mtime: 'now' } })]),
      "the extended header's mtime is no time",
    ],
    [
      'a directory with data',
      () => makeTar([{ name: 'd/', type: '0', content: 'x' }]),
      'an entry has an impossible size',
    ],
    [
      'a sparse map out of order',
      () => makeTar([sparseFile('10,2,0,2', 'abcd')]),
      'the map of a sparse file is malformed',
    ],
    [
      'a sparse map beyond the end',
      () => makeTar([sparseFile('0,2,99,2', 'abcd')]),
      'the map of a sparse file is malformed',
    ],
    [
      'a sparse map that is not its data',
      () => makeTar([sparseFile('0,2', 'abcd')]),
      'the map of a sparse file does not fit its data',
    ],
    ['a sparse map that never ends', () => makeTar([endlessMap()]), 'a sparse file has too many segments'],
  ]

  test.each(refused)('refuses %s', (_title, tar, message) => {
    expect(() => parse(tar(), 1000)).toThrow(`layer refused: ${message}`)
  })

  test('ignores global headers and what follows the end', () => {
    const tar = Buffer.concat([
      makeTar([{ name: 'g', type: 'g', content: paxRecord('path', 'elsewhere') }, file('a')]),
      Buffer.from('garbage after the end'),
    ])
    expect(parse(tar).map(({ entry }) => entry.path)).toEqual(['a'])
  })

  test('takes the last of several values and lets an empty one stand for none', () => {
    const pax: [string, string][] = [
      ['path', 'first'],
      ['path', 'last'],
      ['linkpath', ''],
    ]
    const [seen] = parse(makeTar([symlink('x', 'target', { pax })]))
    expect([seen?.entry.path, seen?.entry.linkPath]).toEqual(['last', 'target'])
  })
})

function sparseFile(map: string, content: string): MadeEntry {
  return file('s', content, { pax: { 'GNU.sparse.map': map, 'GNU.sparse.size': '100' } })
}

function endlessMap(): MadeEntry {
  const pax = { 'GNU.sparse.major': '1', 'GNU.sparse.minor': '0', 'GNU.sparse.realsize': '100' }
  return file('s', '9999999\n'.repeat(200), { pax })
}

function splitAtHeader(tar: Buffer): Buffer[] {
  return [tar.subarray(0, 512), tar.subarray(512)]
}
