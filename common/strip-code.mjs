// A process of its own, `strip-code.mjs CODE CACHE`: leaves in CACHE the JavaScript of every source below CODE, under the digest of the source,
// and nothing else. CACHE belongs to who starts the platform; the server can only read it.
import { hash } from 'node:crypto'
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { stripTypeScriptTypes } from 'node:module'
import { join } from 'node:path'
import { readStripped, sealed } from './load-stripped.mjs'

const [code, cache] = process.argv.slice(2)
/** Nothing in them runs in a lasting process. */
const PASSED_OVER = new Set(['node_modules', 'test', 'bench', 'docs', 'samples', 'console'])

function sources(directory) {
  return readdirSync(directory, { withFileTypes: true }).flatMap((entry) => {
    const path = join(directory, entry.name)
    if (entry.isDirectory()) return PASSED_OVER.has(entry.name) || entry.name.startsWith('.') ? [] : sources(path)
    return entry.isFile() && entry.name.endsWith('.ts') ? [path] : []
  })
}

mkdirSync(cache, { recursive: true, mode: 0o755 })
const wanted = new Set()
for (const path of sources(code)) {
  const source = readFileSync(path, 'utf8')
  const digest = hash('sha256', source)
  wanted.add(digest)
  if (readStripped(cache, source) === undefined)
    writeFileSync(join(cache, digest), sealed(stripTypeScriptTypes(source)), { mode: 0o644 })
}
for (const name of readdirSync(cache))
  if (!wanted.has(name)) rmSync(join(cache, name), { recursive: true, force: true })
