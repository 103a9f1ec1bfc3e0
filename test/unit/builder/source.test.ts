import { execFileSync } from 'node:child_process'
import {
  appendFileSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  renameSync,
  rmSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { type SourceFile, scanSource } from '../../../builder/source.ts'
import { checkUnchanged, readSourceText } from '../../../builder/source-file.ts'

let root: string

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'slipway-source-'))
})
afterEach(() => rmSync(root, { recursive: true, force: true }))

const scan = (): ReturnType<typeof scanSource> => scanSource({ kind: 'directory', path: root })
const paths = (): string[] => scan().entries.map(({ path }) => path)
const put = (path: string, text = 'x'): void => {
  mkdirSync(join(root, path, '..'), { recursive: true })
  writeFileSync(join(root, path), text)
}
const refusal = (code: string, message: RegExp): unknown =>
  expect.objectContaining({ code, message: expect.stringMatching(message) })

describe('reading a source', () => {
  it('lists files and directories sorted by the bytes of their paths', () => {
    for (const path of ['b.js', 'a/z.js', 'a.js', 'é.js', 'Z.js']) put(path)
    expect(paths()).toEqual(['Z.js', 'a', 'a.js', 'a/z.js', 'b.js', 'é.js'])
  })

  it('leaves out what the build makes or reads itself, and says which secrets it left out', () => {
    for (const path of ['index.js', 'package.json', 'node_modules/x/index.js', '.git/config', 'function.yaml'])
      put(path)
    for (const path of ['.env', '.env.example', 'certs/server.key', '.npmrc', 'lib/id_rsa']) put(path)
    expect(paths()).toEqual(['.env.example', 'certs', 'index.js', 'lib', 'package.json'])
    expect(scan().secrets.toSorted()).toEqual(['.env', '.npmrc', 'certs/server.key', 'lib/id_rsa'])
  })

  it('keeps vendored node_modules where no package.json says what belongs in it', () => {
    put('index.js')
    put('node_modules/x/index.js')
    expect(paths()).toContain('node_modules/x/index.js')
  })

  it('follows .slipwayignore, which may take a built-in rule back', () => {
    put('.slipwayignore', '*.md\n!public.pem\ntests/\n')
    for (const path of ['index.js', 'README.md', 'public.pem', 'private.pem', 'tests/a.js']) put(path)
    expect(paths()).toEqual(['index.js', 'public.pem'])
  })

  it('takes a single file by itself', () => {
    put('index.js')
    put('other.js')
    const tree = scanSource({ kind: 'file', path: join(root, 'index.js') })
    expect(tree.entries.map(({ path }) => path)).toEqual(['index.js'])
  })

  it('keeps links within the source and into /tmp, and refuses those that lead out', () => {
    put('a/file.js')
    symlinkSync('a/file.js', join(root, 'good'))
    symlinkSync('../a/../a/file.js', join(root, 'a/also-good'))
    symlinkSync('/tmp/cache', join(root, 'cache'))
    expect(paths()).toEqual(['a', 'a/also-good', 'a/file.js', 'cache', 'good'])
    for (const target of ['/etc/passwd', '../outside', 'a/../../outside', '/tmp/../etc/passwd']) {
      symlinkSync(target, join(root, 'bad'))
      expect(scan).toThrow(refusal('source-outside', /link bad leads out of the source/))
      rmSync(join(root, 'bad'))
    }
  })

  it('does not walk through a link to a directory', () => {
    mkdirSync(join(root, 'real'))
    symlinkSync('.', join(root, 'real/loop'))
    expect(paths()).toEqual(['real', 'real/loop'])
  })

  it('refuses FIFOs and sockets by name, without being held by them', async () => {
    execFileSync('mkfifo', [join(root, 'pipe')])
    expect(scan).toThrow(refusal('source-unsupported', /^pipe is a FIFO/))
    rmSync(join(root, 'pipe'))
    const server = createServer().listen(join(root, 'socket'))
    await new Promise((resolve) => server.once('listening', resolve))
    expect(scan).toThrow(refusal('source-unsupported', /^socket is a socket/))
    await new Promise((resolve) => server.close(resolve))
  })

  it('is not held by a FIFO in the place of .slipwayignore', () => {
    execFileSync('mkfifo', [join(root, '.slipwayignore')])
    expect(scan).toThrow(refusal('source-unsupported', /slipwayignore is not a file/))
  })

  it('refuses names that are not UTF-8', () => {
    openSync(Buffer.concat([Buffer.from(`${root}/bad-`), Buffer.from([0xff, 0xfe])]), 'w')
    expect(scan).toThrow(refusal('source-name-invalid', /not UTF-8/))
  })

  it('refuses a sparse file beyond the bound without reading it, naming it', () => {
    put('huge.bin')
    truncateSync(join(root, 'huge.bin'), 5 * 1024 ** 3)
    expect(scan).toThrow(refusal('source-too-large', /at huge\.bin$/))
  })

  it('refuses too many entries', () => {
    for (let index = 0; index < 11; index += 1) put(`${index}.js`)
    const limits = { bytes: 1000, entries: 10 }
    expect(() => scanSource({ kind: 'directory', path: root }, limits)).toThrow(
      refusal('source-too-large', /more than 10 files/),
    )
  })

  it('says what is not there', () => {
    expect(() => scanSource({ kind: 'directory', path: join(root, 'nope') })).toThrow(
      refusal('source-not-found', /nope cannot be read: ENOENT/),
    )
    put('file')
    expect(() => scanSource({ kind: 'directory', path: join(root, 'file') })).toThrow(
      refusal('source-not-found', /is no directory/),
    )
  })
})

describe('a file that changes after it was seen', () => {
  const file = (path: string): SourceFile => {
    const entry = scan().entries.find((candidate) => candidate.path === path)
    if (entry?.kind !== 'file') throw new Error(`no file ${path}`)
    return entry
  }
  const read = (entry: SourceFile): string => readSourceText(root, entry, 1000)

  it('is read when nothing happened', () => {
    put('a.js', 'text')
    expect(read(file('a.js'))).toBe('text')
  })

  it.each([
    ['grew', () => appendFileSync(join(root, 'd/a.js'), 'more')],
    ['vanished', () => rmSync(join(root, 'd/a.js'))],
    [
      'became a link',
      () => {
        rmSync(join(root, 'd/a.js'))
        symlinkSync('/etc/passwd', join(root, 'd/a.js'))
      },
    ],
    [
      'was replaced by a FIFO',
      () => {
        rmSync(join(root, 'd/a.js'))
        execFileSync('mkfifo', [join(root, 'd/a.js')])
      },
    ],
  ])('ends the build when it %s', (_title, change) => {
    put('d/a.js')
    const entry = file('d/a.js')
    change()
    expect(() => read(entry)).toThrow(refusal('source-changed', /d\/a\.js changed/))
  })

  it('ends the build when its directory was replaced by a link to another place with the very same file', () => {
    put('d/a.js')
    const outside = mkdtempSync(join(tmpdir(), 'slipway-outside-'))
    linkSync(join(root, 'd/a.js'), join(outside, 'a.js'))
    const entry = file('d/a.js')
    renameSync(join(root, 'd'), join(root, 'e'))
    symlinkSync(outside, join(root, 'd'))
    const fd = openSync(entry.file, 'r')
    expect(() => checkUnchanged(fd, root, entry)).toThrow(refusal('source-changed', /changed/))
    rmSync(outside, { recursive: true })
  })
})
