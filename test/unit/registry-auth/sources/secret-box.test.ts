import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { SecretBox } from '../../../../registry-auth/sources/secret-box.ts'

let directory: string
let keyFile: string
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'slipway-secret-box-'))
  keyFile = join(directory, 'secrets.key')
})
afterEach(() => rmSync(directory, { recursive: true }))

it('a secret opens with the same key file, in another process too', () => {
  const sealed = SecretBox.open(keyFile).seal('r.example', 'pässword')
  expect(SecretBox.open(keyFile).unseal('r.example', sealed)).toBe('pässword')
  expect(sealed).not.toContain('pässword')
  expect(SecretBox.open(keyFile).seal('r.example', 'pässword')).not.toBe(sealed)
})

it('the key file is for its owner alone, also when somebody opened it', () => {
  SecretBox.open(keyFile)
  expect(statSync(keyFile).mode & 0o777).toBe(0o600)
  chmodSync(keyFile, 0o644)
  SecretBox.open(keyFile)
  expect(statSync(keyFile).mode & 0o777).toBe(0o600)
})

it('a secret does not open for another registry, with another key, or when a byte is changed', () => {
  const box = SecretBox.open(keyFile)
  const sealed = box.seal('r.example', 'secret')
  const changed = [...sealed.split('.').entries()].map(([at]) => {
    const parts = sealed.split('.')
    parts[at] = Buffer.from(Buffer.from(parts[at] ?? '', 'base64url').map((byte) => byte ^ 1)).toString('base64url')
    return parts.join('.')
  })
  const failures = [
    () => box.unseal('other.example', sealed),
    () => SecretBox.open(join(directory, 'other.key')).unseal('r.example', sealed),
    () => box.unseal('r.example', sealed.split('.').slice(0, 4).join('.')),
    () => box.unseal('r.example', ''),
    ...changed.map((text) => () => box.unseal('r.example', text)),
  ]
  for (const failure of failures) expect(failure).toThrow(expect.objectContaining({ code: 'secret-unreadable' }))
})

it('a key file that is not one is refused and left as it is', () => {
  writeFileSync(keyFile, 'short', { mode: 0o600 })
  expect(() => SecretBox.open(keyFile)).toThrow(expect.objectContaining({ code: 'secret-key-unusable' }))
  expect(readFileSync(keyFile, 'utf8')).toBe('short')
  expect(() => SecretBox.open(join(directory, 'no/such'))).toThrow(
    expect.objectContaining({ code: 'secret-key-unusable' }),
  )
  expect(existsSync(join(directory, 'no'))).toBe(false)
})
