import { readdirSync, readFileSync } from 'node:fs'
import { dirname, join, relative, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe, expect, it } from 'vitest'

const root = join(dirname(fileURLToPath(import.meta.url)), '..')

/** DESIGN: a folder imports only folders above it. `builder` and `runtime-shim` are siblings; base images see only the ground. */
const ORDER = [
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
const EXTRA: Record<string, readonly string[]> = {
  'base-images': ['common', 'oci'],
}
/** Edges that the order would allow and the design forbids. */
const FORBIDDEN: readonly [from: string, to: string][] = [
  ['runtime-shim', 'builder'],
  ['control-plane', 'builder'],
  ['control-plane', 'content'],
  ['control-plane', 'sandbox'],
]
/** Folders that an order cannot place: the CLI also makes base images. */
const ALSO: Record<string, readonly string[]> = { cli: ['base-images'], builder: ['base-images'] }
/** Libraries that only their adapters may name. */
const ADAPTERS: Record<string, RegExp> = {
  dockerode: /^runtime-shim\/engines\/docker[^/]*\.ts$/,
  koffi: /^common\/syscalls\/libc\.ts$/,
  execa: /^common\/command\.ts$/,
  'node:sqlite': /^control-plane\/store\//,
  fastify: /^control-plane\//,
  '@aws-sdk/client-ecr': /^registry-auth\/sources\/ecr-api\.ts$/,
  '@aws-sdk/client-ecr-public': /^registry-auth\/sources\/ecr-api\.ts$/,
  '@aws-sdk/client-sts': /^registry-auth\/sources\/ecr-api\.ts$/,
}

interface Edge {
  file: string
  target: string
  specifier: string
}

function sources(folder: string): string[] {
  return readdirSync(join(root, folder), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && entry.name.endsWith('.ts'))
    .map((entry) => relative(root, join(entry.parentPath, entry.name)))
    .filter((file) => !file.includes('/adapter/'))
}

function imports(file: string): Edge[] {
  const text = readFileSync(join(root, file), 'utf8')
  const pattern = /(?:from|import)\s*\(?\s*'([^']+)'/g
  return [...text.matchAll(pattern)].map((match) => {
    const specifier = match[1] ?? ''
    const target = specifier.startsWith('.') ? relative(root, resolve(root, dirname(file), specifier)) : specifier
    return { file, target, specifier }
  })
}

const folders = [...ORDER, 'base-images']
const edges = folders.flatMap((folder) => sources(folder).flatMap(imports))
const folderOf = (path: string): string => path.split('/')[0] ?? ''

function allowed(from: string, to: string): boolean {
  if (from === to) return true
  const extra = EXTRA[from]
  if (extra !== undefined) return extra.includes(to)
  if (ALSO[from]?.includes(to) === true) return true
  if (FORBIDDEN.some(([a, b]) => a === from && b === to)) return false
  return ORDER.indexOf(to) !== -1 && ORDER.indexOf(to) < ORDER.indexOf(from)
}

describe('the architecture', () => {
  it('lets a folder import only folders above it', () => {
    const broken = edges
      .filter(({ specifier }) => specifier.startsWith('.'))
      .filter(({ file, target }) => !allowed(folderOf(file), folderOf(target)))
    expect(broken.map(({ file, target }) => `${file} -> ${target}`)).toEqual([])
  })

  it('lets folders meet only through their index', () => {
    const deep = edges
      .filter(({ specifier }) => specifier.startsWith('.'))
      .filter(({ file, target }) => folderOf(file) !== folderOf(target))
      .filter(({ target }) => !/^[^/]+(?:\/[^/]+)?\/index\.ts$/.test(target))
    expect(deep.map(({ file, target }) => `${file} -> ${target}`)).toEqual([])
  })

  it('names clients of foreign systems only in their adapters', () => {
    const strays = edges.filter(({ file, target }) => {
      const home = ADAPTERS[target]
      return home !== undefined && !home.test(file)
    })
    expect(strays.map(({ file, target }) => `${file} -> ${target}`)).toEqual([])
  })

  it('gives the server no engine and no wall', () => {
    const reached = new Set<string>()
    const queue = ['control-plane/main.ts']
    const chains = new Map<string, string>([['control-plane/main.ts', 'control-plane/main.ts']])
    for (let file = queue.pop(); file !== undefined; file = queue.pop()) {
      if (reached.has(file)) continue
      reached.add(file)
      for (const { target, specifier } of edges.filter((edge) => edge.file === file)) {
        if (!specifier.startsWith('.')) continue
        chains.set(target, `${chains.get(file)} -> ${target}`)
        queue.push(target)
      }
    }
    const wrong = [...reached].filter((file) =>
      /^(sandbox|content|builder)\/|^runtime-shim\/engines\/(?!engine\.ts)/.test(file),
    )
    expect(wrong.map((file) => chains.get(file))).toEqual([])
  })
})
