import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe, expect, it } from 'vitest'
import { INTERNAL_VARIABLES, VARIABLES } from '../cli/variables.ts'

const root = join(dirname(fileURLToPath(import.meta.url)), '..')
const SOURCES = [
  'common',
  'oci',
  'api',
  'registry-auth',
  'content',
  'sandbox',
  'builder',
  'runtime-shim',
  'control-plane',
  'cli',
]

function files(folder: string, suffix: string): string[] {
  return readdirSync(join(root, folder), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && entry.name.endsWith(suffix))
    .map((entry) => join(entry.parentPath, entry.name))
}

const documents = [join(root, 'README.md'), ...files('docs', '.md')]
const tests = files('test', '.ts').map((path) => readFileSync(path, 'utf8'))
const suites = files('runtime-shim/engines', '.ts').map((path) => readFileSync(path, 'utf8'))

describe('the documentation', () => {
  it('has no dead link', () => {
    const dead = documents.flatMap((path) =>
      [...readFileSync(path, 'utf8').matchAll(/\]\((?!https?:|#)([^)#]+)(?:#[^)]*)?\)/g)]
        .map((match) => join(dirname(path), match[1] ?? ''))
        .filter((target) => !existsSync(target))
        .map((target) => `${path} -> ${target}`),
    )
    expect(dead).toEqual([])
  })

  it('names every environment variable that the code reads', () => {
    const known = new Set([...VARIABLES.map(({ name }) => name), ...INTERNAL_VARIABLES])
    const used = SOURCES.flatMap((folder) => files(folder, '.ts')).flatMap((path) => [
      ...(readFileSync(path, 'utf8').match(/\bSLIPWAY_[A-Z_]+\b/g) ?? []),
    ])
    expect([...new Set(used)].filter((name) => !known.has(name))).toEqual([])
  })

  it('says of each promise which test holds it, by a title that exists', () => {
    const rows = readFileSync(join(root, 'docs/SPECIFICATION.md'), 'utf8').matchAll(/^\|.*\| `([^`]+)` \|$/gm)
    const titles = [...rows].map((match) => match[1] ?? '')
    expect(titles.length).toBeGreaterThan(40)
    const missing = titles.filter((title) => ![...tests, ...suites].some((text) => text.includes(title)))
    expect(missing).toEqual([])
  })

  it('speaks of the project alone: no path of the machine it was made on', () => {
    const paths = documents.filter((path) => /\/(?:work|root|home)\//.test(readFileSync(path, 'utf8')))
    expect(paths).toEqual([])
  })
})
