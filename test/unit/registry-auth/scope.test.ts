import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { allowedAccess, formatGrant, parseGrant, parseScopes } from '../../../registry-auth/index.ts'

describe('a scope', () => {
  const cases: [string, string[], unknown][] = [
    [
      'names type, name and actions',
      ['repository:a/b:pull,push'],
      [{ type: 'repository', name: 'a/b', actions: ['pull', 'push'] }],
    ],
    [
      'may have a name with a port',
      ['repository:r.example:5000/a:pull'],
      [{ type: 'repository', name: 'r.example:5000/a', actions: ['pull'] }],
    ],
    ['loses its class', ['repository(plugin):a:pull'], [{ type: 'repository', name: 'a', actions: ['pull'] }]],
    [
      'is joined with others of the same name',
      ['repository:a:pull repository:b:pull', 'repository:a:push,pull'],
      [
        { type: 'repository', name: 'a', actions: ['pull', 'push'] },
        { type: 'repository', name: 'b', actions: ['pull'] },
      ],
    ],
    [
      'that cannot be read is left out',
      ['repository', 'repository:a', ':a:pull', 'repository::pull', 'repository:a:', 'a b', 'repository:a:PULL'],
      [],
    ],
  ]
  it.each(cases)('%s', (_title, texts, expected) => {
    expect(parseScopes(texts)).toEqual(expected)
  })

  it('is refused when there are too many, or one is too long', () => {
    expect(
      parseScopes([Array.from({ length: 65 }, (_, number) => `repository:a${number}:pull`).join(' ')]),
    ).toBeUndefined()
    expect(parseScopes([`repository:${'a'.repeat(600)}:pull`])).toBeUndefined()
  })

  it('never fails, whatever the text', () => {
    fc.assert(fc.property(fc.array(fc.string({ maxLength: 100 })), (texts) => void parseScopes(texts)))
  })
})

describe('a right', () => {
  const granted: [string, string, string, string[]][] = [
    ['pull,push:default/*', 'default/a', 'pull,push,delete', ['pull', 'push']],
    ['pull:default/*', 'default/a/b', 'pull', ['pull']],
    ['pull:default/*', 'default', 'pull', []],
    ['pull:default/*', 'default2/a', 'pull', []],
    ['pull:default/a', 'default/a', 'pull', ['pull']],
    ['pull:default/a', 'default/ab', 'pull', []],
    ['pull:default/a', 'default/a/b', 'pull', []],
    ['pull,delete:*', 'x/y', '*', ['pull', 'delete']],
    ['push:a', 'a', 'delete', []],
  ]
  it.each(granted)('%s on %s for %s gives %j', (grant, name, asked, expected) => {
    const access = allowedAccess([parseGrant(grant)], [{ type: 'repository', name, actions: asked.split(',') }])
    expect(access.flatMap(({ actions }) => actions)).toEqual(expected)
  })

  it('to pull everything includes the catalog, and nothing else of other types', () => {
    const catalog = { type: 'registry', name: 'catalog', actions: ['*'] }
    expect(allowedAccess([parseGrant('pull:*')], [catalog])).toEqual([catalog])
    expect(allowedAccess([parseGrant('pull:a/*')], [catalog])).toEqual([])
    expect(allowedAccess([parseGrant('pull:*')], [{ type: 'admin', name: 'a', actions: ['pull'] }])).toEqual([])
  })

  it.each(['pull:a', 'pull,push,delete:*', 'push:a/b/*'])('%s is read back from its text', (text) => {
    expect(formatGrant(parseGrant(text))).toBe(text)
  })

  it.each([
    '',
    'pull',
    ':a',
    'pull:',
    'pull:A',
    'pull:a/**',
    'pull:*/a',
    'read:a',
    'pull,:a',
    'pull:../a',
    `pull:${'a'.repeat(300)}`,
  ])('"%s" is refused', (text) => {
    expect(() => parseGrant(text)).toThrow(expect.objectContaining({ code: 'grant-invalid' }))
  })

  it('never gives more than was asked for, nor more than is held', () => {
    const actions = fc.subarray(['pull', 'push', 'delete'] as const, { minLength: 1 })
    const names = fc.constantFrom('a', 'a/b', 'b/c', 'c')
    const patterns = fc.constantFrom('a', 'a/*', 'b/*', '*')
    const grants = fc.array(fc.record({ repository: patterns, actions }))
    fc.assert(
      fc.property(grants, names, actions, (held, name, asked) => {
        const [given] = allowedAccess(held, [{ type: 'repository', name, actions: asked }])
        for (const action of given?.actions ?? []) {
          expect(asked).toContain(action)
          const covering = held.filter(
            ({ repository }) =>
              repository === '*' ||
              repository === name ||
              (repository.endsWith('/*') && name.startsWith(repository.slice(0, -1))),
          )
          expect(covering.flatMap((grant) => grant.actions)).toContain(action)
        }
      }),
    )
  })
})
