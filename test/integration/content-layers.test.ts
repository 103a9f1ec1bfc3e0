import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { createLogger, mountOverlay, run, unmount } from '../../common/index.ts'
import { type OwnedContentStore, openContentStore } from '../../content/index.ts'
import { type BlobServer, makeImage, serveImages, writeOciLayout } from '../helpers/made-image.ts'
import { requireProgram } from '../helpers/programs.ts'
import { directory, file, hardLink, type MadeEntry, makeTar, symlink } from '../helpers/tar-maker.ts'
import { describeTree } from '../helpers/tree-description.ts'

interface Case {
  title: string
  /** Entries of each layer, lowest first. */
  layers: MadeEntry[][]
  /** Directories whose time umoci leaves at the unpacking's: those only implied, and what they were made or removed in. */
  untimed?: string[]
}

const NS = { mtime: '1600000000.123456789' }
/** VFS_CAP_REVISION_2 with CAP_NET_BIND_SERVICE, effective: what `setcap cap_net_bind_service=ep` writes. */
const NET_BIND = Buffer.from('0100000200040000000000000000000000000000', 'hex')
const root = directory('./', { mode: 0o755 })
const long = (length: number): string =>
  Array.from({ length: length / 10 }, (_, index) => `d${index}`.padEnd(9, 'x')).join('/')

const CASES: Case[] = [
  {
    title: 'files, directories, symbolic and hard links, fifos',
    layers: [
      [
        root,
        directory('a/', { uid: 5, gid: 6, mode: 0o751 }),
        file('a/f', 'text', { mode: 0o640, uid: 1000, gid: 1001 }),
        symlink('a/s', '../elsewhere/nowhere', { uid: 7 }),
        hardLink('a/h', 'a/f'),
        { name: 'a/pipe', type: '6', mode: 0o622 },
        file('empty'),
      ],
    ],
  },
  {
    title: 'setuid, setgid and sticky bits, and files without any permission',
    layers: [
      [
        root,
        directory('tmp/', { mode: 0o1777 }),
        directory('shared/', { mode: 0o2775, gid: 50 }),
        file('shared/inherits', 'x', { gid: 7, mode: 0o644 }),
        directory('shared/sub/', { mode: 0o755, gid: 8 }),
        file('su', 'x', { mode: 0o4755, uid: 0 }),
        file('sg', 'x', { mode: 0o2755, uid: 3, gid: 4 }),
        file('none', 'x', { mode: 0 }),
        directory('closed/', { mode: 0 }),
        file('closed/in', 'x'),
      ],
    ],
  },
  {
    title: 'times to the nanosecond, before 1970 and of symbolic links',
    layers: [
      [
        directory('./', { pax: NS }),
        directory('d/', { pax: { mtime: '1500000000.000000001' } }),
        file('d/f', 'x', { pax: NS }),
        symlink('d/l', 'f', { pax: { mtime: '1.5' } }),
        file('old', 'x', { mtime: -86_400 }),
        file('oldest', 'x', { pax: { mtime: '-1.25' } }),
      ],
    ],
  },
  {
    title: 'extended attributes and file capabilities',
    layers: [
      [
        root,
        file('ping', 'x', { mode: 0o755, uid: 9, pax: { 'SCHILY.xattr.security.capability': NET_BIND } }),
        file('noted', 'x', { pax: { 'SCHILY.xattr.user.note': 'a\nb=c', 'SCHILY.xattr.user.empty': '' } }),
        directory('d/', { pax: { 'SCHILY.xattr.user.of-directory': 'yes' } }),
      ],
    ],
  },
  {
    title: 'whiteouts of files, directories and symbolic links',
    layers: [
      [
        root,
        directory('d/'),
        file('d/gone', 'x'),
        file('d/stays', 'x'),
        directory('tree/'),
        file('tree/f'),
        symlink('l', 'd'),
      ],
      [directory('d/', { mode: 0o700 }), file('d/.wh.gone'), file('.wh.tree'), file('.wh.l')],
    ],
  },
  {
    title: 'an opaque directory, its marker before, between and after what lies in it',
    layers: [
      [
        root,
        ...['a', 'b', 'c'].flatMap((name) => [directory(`${name}/`), file(`${name}/lower`), directory(`${name}/sub/`)]),
      ],
      [
        directory('a/'),
        file('a/.wh..wh..opq'),
        file('a/new', 'n'),
        directory('b/'),
        file('b/new', 'n'),
        file('b/.wh..wh..opq'),
        file('b/newer', 'n'),
        directory('c/'),
        file('c/lower', 'again'),
        file('c/.wh..wh..opq'),
      ],
    ],
  },
  {
    title: 'an opaque root',
    layers: [
      [root, file('lower'), directory('d/')],
      [directory('./', { mode: 0o711 }), file('.wh..wh..opq'), file('upper', 'u')],
    ],
  },
  {
    title: 'a whiteout and an entry of the same name in one layer, in both orders',
    layers: [
      [
        root,
        ...['a', 'b'].flatMap((name) => [directory(`${name}/`), file(`${name}/lower`)]),
        file('f', 'old'),
        file('g', 'old'),
      ],
      [
        file('.wh.a'),
        directory('a/'),
        file('a/new'),
        directory('b/'),
        file('b/new'),
        file('.wh.b'),
        file('.wh.f'),
        file('f', 'new'),
        file('g', 'new'),
        file('.wh.g'),
      ],
    ],
    untimed: ['/b'],
  },
  {
    title: 'whiteouts of what no lower layer has',
    layers: [
      [root, directory('d/')],
      [directory('only/'), file('only/.wh.ghost'), file('only/real'), file('d/.wh.ghost'), file('.wh.ghost')],
    ],
  },
  {
    title: 'whiteouts in the lowest layer',
    layers: [[root, file('.wh.ghost'), directory('d/'), file('d/.wh.ghost'), file('d/f')]],
  },
  {
    title: 'a kind that changes from layer to layer',
    layers: [
      [root, directory('a/'), file('a/in'), file('b'), symlink('c', 'a'), directory('d/'), file('d/in')],
      [file('a', 'now a file'), directory('b/'), file('b/in'), directory('c/'), file('c/in'), symlink('d', 'b')],
      [directory('a/'), file('a/other')],
    ],
  },
  {
    title: 'a kind that changes inside one layer, over a lower directory',
    layers: [
      [root, directory('x/'), file('x/lower'), directory('y/'), file('y/lower')],
      [
        file('x', 'file first'),
        directory('x/'),
        file('x/upper'),
        directory('y/'),
        file('y/gone'),
        file('y', 'file last'),
      ],
    ],
  },
  {
    title: 'entries that occur several times',
    layers: [
      [
        root,
        file('f', 'one', { mode: 0o600 }),
        file('f', 'two', { mode: 0o755, uid: 3 }),
        symlink('s', 'one'),
        symlink('s', 'two'),
        directory('d/', { mode: 0o700, pax: { 'SCHILY.xattr.user.first': '1' } }),
        file('d/f'),
        directory('d/', { mode: 0o755, uid: 8 }),
        hardLink('f2', 'f'),
        hardLink('f2', 'f'),
      ],
    ],
  },
  {
    title: 'absolute names, dots and double slashes',
    layers: [
      [
        root,
        directory('/abs/'),
        file('/abs/f', 'x'),
        file('./abs/./g', 'x'),
        file('abs//h', 'x'),
        file('abs/sub/../i', 'x'),
        file('../../../up', 'x'),
        file('abs/../../../../up2', 'x'),
        symlink('/abs/l', '/abs/f'),
        hardLink('hl', '/abs/f'),
        hardLink('hl2', '../../abs/g'),
      ],
    ],
    untimed: ['', '/abs'],
  },
  {
    title: 'entries below symbolic links that stay inside',
    layers: [
      [
        root,
        directory('real/'),
        symlink('link', 'real'),
        file('link/f', 'x'),
        symlink('abs', '/real'),
        file('abs/g', 'x'),
        symlink('up', '../../../../../real'),
        file('up/h', 'x'),
        directory('real/sub/'),
        symlink('chain1', 'chain2'),
        symlink('chain2', 'link/sub'),
        file('chain1/i', 'x'),
        hardLink('j', 'chain1/i'),
      ],
    ],
    untimed: ['/real', '/real/sub'],
  },
  {
    title: 'directories that are only implied keep what the lower layer says of them',
    layers: [
      [
        root,
        directory('etc/', { mode: 0o700, uid: 12, gid: 13, mtime: 1_500_000_000 }),
        directory('etc/deep/', { mode: 0o750, pax: { 'SCHILY.xattr.user.kept': 'k' } }),
        file('etc/deep/f'),
      ],
      [file('etc/deep/g', 'x')],
      [directory('etc/', { mode: 0o711, mtime: 1_500_000_001 })],
      [file('etc/deep/h', 'x'), file('top', 'x')],
    ],
  },
  {
    title: 'a directory only implied over a symbolic link of a lower layer follows it (merged /usr)',
    layers: [
      [root, directory('usr/'), directory('usr/lib/', { uid: 2 }), file('usr/lib/old', 'o'), symlink('lib', 'usr/lib')],
      [file('lib/new', 'n'), file('lib/sub/deep', 'n'), file('lib/.wh.old')],
      [directory('usr/'), directory('usr/lib/'), file('usr/lib/newest', 'n')],
    ],
    untimed: ['/usr/lib/sub', '/usr/lib'],
  },
  {
    title: 'a hard link to a file of a lower layer',
    layers: [
      [root, directory('bin/'), file('bin/busybox', 'many programs', { mode: 0o755 })],
      [directory('sbin/'), hardLink('sbin/init', 'bin/busybox'), hardLink('sbin/init2', 'sbin/init')],
    ],
    untimed: ['/sbin'],
  },
  {
    title: 'names of non-ASCII text, of invalid UTF-8, with control characters and of 255 bytes',
    layers: [
      [
        root,
        directory('ünï/'),
        file('ünï/日本', 'x'),
        file('new\nline', 'x'),
        file('n'.repeat(255), 'x'),
        { ...file('bytes', 'x'), patch: [[0, Buffer.from([0x62, 0xff, 0xfe, 0x80, 0])]] },
        symlink('ünï/ziel', 'ünï/日本'),
      ],
    ],
  },
  {
    title: 'paths of 900 and 3,500 bytes by PAX, and of 300 by GNU long names',
    layers: [
      [
        root,
        file(`${long(900)}/f`, 'x'),
        file(`${long(3500)}/f`, 'x'),
        file(`${long(300)}/gnu`, 'x', { format: 'gnu' }),
        symlink('far', long(3000)),
        symlink('far-gnu', long(290), { format: 'gnu' }),
      ],
    ],
    untimed: ['', ...Array.from({ length: 350 }, (_, index) => `/${long((index + 1) * 10)}`)],
  },
  {
    title: 'ustar prefixes and numbers in base 256',
    layers: [
      [
        root,
        { ...file('name', 'x'), prefix: 'pre/fix' },
        file('big-owner', 'x', { uid: 3_000_000, gid: 2_097_152 }),
        file('pax-owner', 'x', { pax: { uid: '4000000', gid: '4000001' } }),
        file('future', 'x', { mtime: 9_000_000_000 }),
      ],
    ],
    untimed: ['', '/pre', '/pre/fix'],
  },
  {
    title: 'the same layer twice, and empty layers',
    layers: [
      [root, file('f', '1'), file('g', '1')],
      [file('.wh.f'), file('g', '2')],
      [],
      [root, file('f', '1'), file('g', '1')],
      [],
    ],
  },
  {
    title: 'an entry for the root in an upper layer, and none in a lower one',
    layers: [[file('a')], [directory('./', { mode: 0o711, uid: 4, mtime: 1_234 }), file('b')], [file('c')]],
  },
  {
    title: 'sparse files in the PAX formats 0.0, 0.1 and 1.0',
    layers: [[root, ...sparseEntries()]],
  },
]

/** The same file in three formats: 4 bytes at 0, 4 bytes at 10,000, 20,000 bytes long. */
function sparseEntries(): MadeEntry[] {
  const map = [0, 4, 10_000, 4, 20_000, 0]
  const data = 'headtail'
  const mapBlock = Buffer.alloc(512)
  mapBlock.write(`3\n${map.join('\n')}\n`)
  const pairs = map.map((value, index): [string, string] => [
    index % 2 === 0 ? 'GNU.sparse.offset' : 'GNU.sparse.numbytes',
    String(value),
  ])
  return [
    file('v00', data, { pax: [['GNU.sparse.size', '20000'], ['GNU.sparse.numblocks', '3'], ...pairs] }),
    file('GNUSparseFile.1/v01', data, {
      pax: {
        'GNU.sparse.size': '20000',
        'GNU.sparse.numblocks': '3',
        'GNU.sparse.map': map.join(','),
        'GNU.sparse.name': 'v01',
      },
    }),
    file('GNUSparseFile.1/v10', Buffer.concat([mapBlock, Buffer.from(data)]), {
      pax: {
        'GNU.sparse.major': '1',
        'GNU.sparse.minor': '0',
        'GNU.sparse.name': 'v10',
        'GNU.sparse.realsize': '20000',
      },
    }),
  ]
}

const canRun = requireProgram('umoci', 'setpriv')

describe.skipIf(!canRun)('unpacked layers, merged by overlayfs, equal what umoci unpacks', () => {
  let scratch: string
  let server: BlobServer
  let store: OwnedContentStore

  beforeAll(async () => {
    scratch = mkdtempSync(join(tmpdir(), 'slipway-content-'))
    server = await serveImages()
    store = await openContentStore(join(scratch, 'content'), { logger: createLogger('test') })
  })
  afterAll(async () => {
    await store.close()
    await server.close()
    rmSync(scratch, { recursive: true, force: true })
  })

  test.each(CASES)('$title', async ({ layers, untimed = [] }) => {
    const image = makeImage(layers.map((entries) => makeTar(entries)))
    server.add(image)
    const work = mkdtempSync(join(scratch, 'case-'))
    writeOciLayout(image, join(work, 'oci'))
    await run('umoci', ['unpack', '--image', `${join(work, 'oci')}:made`, join(work, 'bundle')])
    const { image: local } = await store.pull({
      registry: server.address,
      repository: 'made/image',
      digest: image.digest,
      credential: { kind: 'anonymous' },
      deadlineMs: Date.now() + 30_000,
    })
    const merged = join(work, 'merged')
    mkdirSync(merged)
    mountOverlay(local.layerDirectories, merged)
    try {
      const options = { compareTime: (path: string) => !untimed.includes(path) }
      expect(describeTree(merged, options)).toEqual(describeTree(join(work, 'bundle/rootfs'), options))
    } finally {
      unmount(merged)
    }
  })
})
