import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, describe, expect, it } from 'vitest'
import { mountOverlay, mountOverlayByString, unmount } from '../../common/index.ts'

const undo: (() => void)[] = []
afterEach(() => {
  for (const step of undo.splice(0).reverse()) step()
})

/** `count` layers that each have a file of their own and all have `same`. */
function layers(count: number): { directories: string[]; target: string } {
  const root = mkdtempSync(join(tmpdir(), 'slipway-overlay-'))
  undo.push(() => rmSync(root, { recursive: true, force: true }))
  const directories = Array.from({ length: count }, (_, index) => {
    const directory = join(root, 'layers', String(index).padStart(64, '0'), 'tree')
    mkdirSync(directory, { recursive: true })
    writeFileSync(join(directory, `own-${index}`), '')
    writeFileSync(join(directory, 'same'), String(index))
    return directory
  })
  const target = join(root, 'merged')
  mkdirSync(target)
  undo.push(() => void unmount(target))
  return { directories, target }
}

describe.skipIf(process.getuid?.() !== 0)('overlay mounts', () => {
  it.each([1, 2, 500])('take %i layers, the last on top', (count) => {
    const { directories, target } = layers(Math.max(2, count))
    mountOverlay(directories, target)
    expect(readdirSync(target)).toHaveLength(directories.length + 1)
    expect(readFileSync(join(target, 'same'), 'utf8')).toBe(String(directories.length - 1))
  })

  it('of old kernels, by mount(2), give the same tree for fifty layers', () => {
    const { directories, target } = layers(50)
    mountOverlayByString(directories, target)
    expect(readdirSync(target)).toHaveLength(51)
    expect(readFileSync(join(target, 'same'), 'utf8')).toBe('49')
  })

  it('of old kernels refuse what does not fit in a page, by name', () => {
    const { directories, target } = layers(100)
    expect(() => mountOverlayByString(directories, target)).toThrow('an overlay of 100 layers does not fit')
  })
})
