import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { formatReference, parseReference, type Reference } from '../../../oci/index.ts'

const DIGEST = `sha256:${'a'.repeat(64)}` as const
const DEFAULT = '127.0.0.1:5000'

describe('an image reference', () => {
  const readable: [string, Reference][] = [
    ['hello', { registry: DEFAULT, repository: 'hello' }],
    ['default/hello:v1', { registry: DEFAULT, repository: 'default/hello', tag: 'v1' }],
    ['localhost/hello', { registry: 'localhost', repository: 'hello' }],
    ['localhost:5000/a/b:1', { registry: 'localhost:5000', repository: 'a/b', tag: '1' }],
    ['[::1]:5000/a', { registry: '[::1]:5000', repository: 'a' }],
    ['r.example/a/b__c:x', { registry: 'r.example', repository: 'a/b__c', tag: 'x' }],
    [`r.example/a@${DIGEST}`, { registry: 'r.example', repository: 'a', digest: DIGEST }],
    [`a:v1@${DIGEST}`, { registry: DEFAULT, repository: 'a', tag: 'v1', digest: DIGEST }],
  ]
  it.each(readable)('%s is read', (text, expected) => {
    expect(parseReference(text, DEFAULT)).toEqual(expected)
  })

  const malformed = [
    '',
    ':v1',
    'A/b',
    'a//b',
    'a/',
    '/a',
    'a:',
    'a:-x',
    'a b',
    'r.example/',
    'a/../b',
    'a%2fb',
    'ä',
    'a:v1:v2',
    'http://r.example/a',
    'r..example:x/a',
  ]
  it.each(malformed)('"%s" is refused as invalid', (text) => {
    expect(() => parseReference(text, DEFAULT)).toThrow(expect.objectContaining({ code: 'reference-invalid' }))
  })

  it.each(['a@sha256:abc', `a@sha512:${'a'.repeat(128)}`, `a@${DIGEST}0`])('"%s" is refused for its digest', (text) => {
    expect(() => parseReference(text, DEFAULT)).toThrow(expect.objectContaining({ code: 'digest-invalid' }))
  })

  const part = fc.stringMatching(/^[a-z0-9]{1,8}(?:(?:\.|_|__|-{1,3})[a-z0-9]{1,4}){0,2}$/)
  const references = fc.record(
    {
      registry: fc.constantFrom('localhost', 'r.example', '127.0.0.1:5000', '[::1]:80'),
      repository: fc.array(part, { minLength: 1, maxLength: 4 }).map((parts) => parts.join('/')),
      tag: fc.stringMatching(/^[A-Za-z0-9_][A-Za-z0-9._-]{0,20}$/),
      digest: fc.constant(DIGEST),
    },
    { requiredKeys: ['registry', 'repository'] },
  )
  it('is read back equal from its text', () => {
    fc.assert(
      fc.property(references, (reference) => {
        expect(parseReference(formatReference(reference), DEFAULT)).toEqual(reference)
      }),
    )
  })

  it('is read or refused with a known code, whatever the text', () => {
    const texts = fc.oneof(fc.string({ maxLength: 700 }), fc.stringMatching(/^[a-zA-Z0-9:@/._-]{0,60}$/))
    fc.assert(
      fc.property(texts, (text) => {
        try {
          expect(formatReference(parseReference(text, DEFAULT)).endsWith(text)).toBe(true)
        } catch (thrown) {
          expect(thrown).toMatchObject({ code: expect.stringMatching(/^(?:reference|digest)-invalid$/) })
        }
      }),
    )
  })
})

it.each([
  ['docker.io/debian:12', 'library/debian'],
  ['index.docker.io/debian', 'library/debian'],
  ['docker.io/someone/app', 'someone/app'],
  ['r.example/debian', 'debian'],
])('%s names the repository %s', (text, repository) => {
  expect(parseReference(text, 'r.example').repository).toBe(repository)
})
