import { readdirSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe, expect, test } from 'vitest'
import { documentedNumber, ERRORS, errorEntry } from '../../../api/index.ts'
import { generatedDocs } from '../../../docs/generate.ts'

const root = join(dirname(fileURLToPath(import.meta.url)), '../../..')
const FOLDERS = [
  ...['common', 'oci', 'api', 'registry-auth', 'content', 'sandbox', 'builder', 'runtime-shim', 'control-plane'],
  ...['triggers', 'operator', 'cli', 'base-images'],
]

/** What an AppError is made with: `code: 'x'`, a choice of two, or the code as the first argument of a maker of errors. */
const THROWN = [
  /\bcode: '([a-z][a-z0-9-]*)'/g,
  /\bcode: [^,'\n]{1,80} \? '([a-z][a-z0-9-]*)' : '([a-z][a-z0-9-]*)'/g,
  /\b(?:refused|refusal|failure)\(\s*'([a-z][a-z0-9-]*)'/g,
]

const sources = FOLDERS.flatMap((folder) => files(folder)).map((file) => ({
  file,
  text: readFileSync(join(root, file), 'utf8'),
}))

function files(folder: string): string[] {
  try {
    return readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' })
      .filter((name) => name.endsWith('.ts') && !name.includes('adapter/'))
      .map((name) => join(folder, name))
  } catch {
    return [] // a folder that DESIGN.md names and that is not there yet
  }
}

function thrownCodes(): Map<string, string> {
  const codes = new Map<string, string>()
  for (const { file, text } of sources) {
    for (const pattern of THROWN) {
      for (const match of text.matchAll(pattern)) {
        for (const code of match.slice(1)) if (code !== undefined) codes.set(code, file)
      }
    }
  }
  return codes
}

describe('the registry of error codes', () => {
  test('finds the codes that the source throws at all', () => {
    expect(thrownCodes().size).toBeGreaterThan(60)
  })

  test('has every code that the source throws', () => {
    const missing = [...thrownCodes()].filter(([code]) => !(code in ERRORS))
    expect(missing.map(([code, file]) => `${code} (${file})`)).toEqual([])
  })

  test('has no code that nothing throws', () => {
    const elsewhere = sources.filter(({ file }) => !file.startsWith('api/errors')).map(({ text }) => text)
    const unused = Object.keys(ERRORS).filter((code) => !elsewhere.some((text) => text.includes(`'${code}'`)))
    expect(unused).toEqual([])
  })

  test('gives each code a kebab-case name, an HTTP error status, and a number that is documented', () => {
    for (const code of Object.keys(ERRORS)) {
      const { status, number, title, meaning } = errorEntry(code)
      expect(code).toMatch(/^[a-z]+(-[a-z0-9]+)*$/)
      expect(status).toBeGreaterThanOrEqual(400)
      expect(status).toBeLessThan(600)
      if (number !== undefined) expect(documentedNumber(number), code).toBeDefined()
      expect(title).not.toMatch(/\.$/)
      expect(meaning).toMatch(/\.$/)
    }
  })

  test('treats a code that is not registered as internal', () => {
    expect(errorEntry('no-such-code')).toBe(ERRORS.internal)
    expect(errorEntry('constructor')).toBe(ERRORS.internal)
  })
})

test.each(Object.entries(generatedDocs()))('docs/%s is what the code says', (name, text) => {
  const written = readFileSync(join(root, 'docs', name), 'utf8')
  expect(written === text, `docs/${name} is out of date: run "node docs/generate.ts"`).toBe(true)
})
