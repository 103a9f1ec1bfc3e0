// Preloaded (`--import`) into every lasting process of ours: a TypeScript source is read as the JavaScript that strip-code.mjs left of it. The
// compiler that Node would load instead stays in memory: 13 MB in each process. What the cache lacks (a source changed meanwhile) Node
// strips as always. JavaScript itself, since stripping this file would load the compiler.
import { hash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { registerHooks } from 'node:module'
import { join } from 'node:path'

const cache = process.env.SLIPWAY_CODE_CACHE

/** A kept file is the JavaScript, then a comment with its digest: what a crash left of a file is not run. */
export function sealed(text) {
  return `${text}\n//${hash('sha256', text)}`
}

/** The JavaScript of a source, kept under the digest of the source; undefined when it is not there whole, or not for this user. */
export function readStripped(directory, source) {
  let kept
  try {
    kept = readFileSync(join(directory, hash('sha256', source)), 'utf8')
  } catch {
    return undefined
  }
  const text = kept.slice(0, kept.lastIndexOf('\n'))
  return kept === sealed(text) ? text : undefined
}

if (cache !== undefined) {
  registerHooks({
    load(url, context, next) {
      if (!url.startsWith('file:') || !url.endsWith('.ts')) return next(url, context)
      const source = readStripped(cache, readFileSync(new URL(url)))
      return source === undefined ? next(url, context) : { format: 'module', source, shortCircuit: true }
    },
  })
}
