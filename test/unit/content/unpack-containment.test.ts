import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import * as fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { TarParser } from '../../../content/tar-parser.ts'
import { DEFAULT_LIMITS, UnpackBudget, type UnpackLimits } from '../../../content/unpack-budget.ts'
import type { LayerNotes } from '../../../content/unpack-finish.ts'
import { LayerWriter } from '../../../content/unpack-layer.ts'
import { LayerTree } from '../../../content/unpack-tree.ts'
import { directory, file, hardLink, type MadeEntry, makeTar, symlink } from '../../helpers/tar-maker.ts'
import { describeTree } from '../../helpers/tree-description.ts'

const isRoot = process.getuid?.() === 0
if (!isRoot) console.warn('tests of unpacking skipped: they need root')

describe.skipIf(!isRoot)('LayerWriter', () => {
  let scratch: string
  let outside: string[]

  beforeAll(() => {
    scratch = mkdtempSync(join(tmpdir(), 'slipway-unpack-'))
    mkdirSync(join(scratch, 'victim'))
    writeFileSync(join(scratch, 'victim/file'), 'untouched')
    outside = describeTree(join(scratch, 'victim'))
  })
  afterAll(() => rmSync(scratch, { recursive: true, force: true }))

  function unpack(
    entries: readonly MadeEntry[],
    limits: Partial<UnpackLimits> = {},
  ): { tree: string[]; notes: LayerNotes } {
    const root = mkdtempSync(join(scratch, 'root-'))
    const writer = new LayerWriter(new LayerTree(root), new UnpackBudget(root, { ...DEFAULT_LIMITS, ...limits }))
    const parser = new TarParser(writer)
    try {
      parser.write(makeTar(entries))
      parser.finish()
      const notes = writer.finish()
      return { notes, tree: describeTree(root) }
    } finally {
      writer.abandon()
      rmSync(root, { recursive: true, force: true })
    }
  }

  test('touches nothing outside its root, whatever the tar says (random hostile tars)', { timeout: 60_000 }, () => {
    const part = fc.constantFrom('a', 'b', '..', '.', '', 'victim', '.wh.a', '.wh..wh..opq', 'c')
    const path = fc
      .tuple(fc.constantFrom('', '/', '../', `${'../'.repeat(12)}tmp/`), fc.array(part, { minLength: 1, maxLength: 5 }))
      .map(([start, parts]) => start + parts.join('/'))
    const target = fc.oneof(
      path,
      fc.constantFrom(`${scratch}/victim`, `${scratch}/victim/file`, '..', '/', '../victim'),
    )
    const entry = fc.oneof(
      fc.tuple(path, target).map(([name, to]) => symlink(name, to)),
      fc.tuple(path, target).map(([name, to]) => hardLink(name, to)),
      path.map((name) => file(name, 'overwritten', { mode: 0o666, uid: 7 })),
      path.map((name) => directory(name, { mode: 0o777, uid: 8 })),
    )
    fc.assert(
      fc.property(fc.array(entry, { minLength: 1, maxLength: 12 }), (entries) => {
        try {
          unpack(entries)
        } catch (thrown) {
          expect(thrown).toMatchObject({ code: 'image-invalid' })
        }
        expect(describeTree(join(scratch, 'victim'))).toEqual(outside)
      }),
      { numRuns: 250 },
    )
  })

  const escapes: [title: string, entries: (victim: string) => MadeEntry[]][] = [
    ['a symbolic link to it and a file below', (victim) => [symlink('l', victim), file('l/file', 'changed')]],
    ['a relative link and a file below', () => [symlink('l', '../victim'), file('l/file', 'changed')]],
    ['links through links', (victim) => [symlink('a', victim), symlink('b', 'a'), file('b/file', 'changed')]],
    ['a hard link to it, then written', (victim) => [hardLink('h', `${victim}/file`), file('h', 'changed')]],
    ['a hard link through a symbolic link', (victim) => [symlink('l', victim), hardLink('h', 'l/file')]],
    ['a whiteout through a symbolic link', (victim) => [symlink('l', victim), file('l/.wh.file')]],
    ['an opaque marker through a symbolic link', (victim) => [symlink('l', victim), file('l/.wh..wh..opq')]],
    ['a directory over a symbolic link', (victim) => [symlink('l', victim), directory('l/', { mode: 0o777, uid: 9 })]],
    [
      'a directory that becomes a link before its time is set',
      (victim) => [directory('d/', { uid: 9 }), symlink('d', victim)],
    ],
    [
      'a directory in one that becomes a link',
      (victim) => [directory('d/'), directory('d/file', { uid: 9 }), symlink('d', victim)],
    ],
    ['dots', () => [file('../victim/file', 'changed'), file('x/../../victim/file', 'changed')]],
    ['an absolute name', (victim) => [file(`${victim}/file`, 'changed')]],
  ]

  test.each(escapes)('does not reach a file outside by %s', (_title, entries) => {
    unpack(entries(join(scratch, 'victim')))
    expect(describeTree(join(scratch, 'victim'))).toEqual(outside)
    expect(readFileSync(join(scratch, 'victim/file'), 'utf8')).toBe('untouched')
  })

  const refused: [title: string, entries: MadeEntry[], message: string][] = [
    ['a file in place of the root', [file('.', 'x')], 'an entry replaces the root directory'],
    ['an entry below a file', [file('f'), file('f/in')], 'an entry lies below something that is no directory'],
    [
      'a loop of symbolic links',
      [symlink('a', 'b'), symlink('b', 'a'), file('a/f')],
      'a path leads through too many symbolic links',
    ],
    ['a hard link to a directory', [directory('d/'), hardLink('h', 'd')], 'the hard link "h" leads to a directory'],
    ['a whiteout of nothing', [file('.wh.')], 'a whiteout names nothing that can be hidden'],
    ['a whiteout of the directory above', [file('d/.wh...')], 'a whiteout names nothing that can be hidden'],
    ['a name longer than 255 bytes', [file('n'.repeat(256))], 'is longer than a path may be here'],
    ['a path that does not fit with its root', [file(`${'d/'.repeat(2040)}f`)], 'is longer than a path may be here'],
  ]

  test.each(refused)('refuses %s', (_title, entries, message) => {
    expect(() => unpack(entries)).toThrow(message)
  })

  test('refuses more entries, and more bytes with holes counted, than the limits', () => {
    const many = Array.from({ length: 11 }, (_, index) => file(`f${index}`))
    expect(() => unpack(many, { maxEntries: 10 })).toThrow('it has more than 10 entries')
    const holes = file('big', '', { pax: { 'GNU.sparse.map': '0,0', 'GNU.sparse.size': '99999999999' } })
    expect(() => unpack([holes])).toThrow('it holds more than 21474836480 bytes')
  })

  test('stops before the disk is full', () => {
    const limits = { minFreeBytes: Number.MAX_SAFE_INTEGER }
    expect(() => unpack([file('f', 'x')], limits)).toThrow(expect.objectContaining({ code: 'disk-full' }))
  })

  test('leaves device nodes out and says so', () => {
    const { tree, notes } = unpack([
      { name: 'null', type: '3', device: [1, 3] },
      { name: 'disk', type: '4', device: [8, 0] },
      { name: 'whiteout', type: '3', device: [0, 0] },
    ])
    expect(tree.map((line) => line.split(' ')[0])).toEqual(['/'])
    expect(notes.devices).toEqual(['/null', '/disk', '/whiteout'])
  })

  test("strips overlayfs's own attributes and what only the host understands", () => {
    const names = [
      'user.overlay.redirect',
      'user.overlay.opaque',
      'trusted.overlay.opaque',
      'security.selinux',
      'user.kept',
    ]
    const pax = Object.fromEntries(names.map((name) => [`SCHILY.xattr.${name}`, 'y']))
    const { tree } = unpack([file('f', 'x', { pax }), directory('d/', { pax })])
    expect(tree.filter((line) => line.includes('user.kept')).length).toBe(2)
    expect(tree.filter((line) => /overlay|selinux/.test(line))).toEqual([])
  })
})
