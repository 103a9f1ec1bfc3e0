import { describe, expect, it } from 'vitest'
import { DEFAULT_NAMESPACE_SETTINGS, NamespaceRequest, violationsOf } from '../../../api/index.ts'
import { mayPull, requirePull } from '../../../control-plane/pull-rights.ts'

const LOCAL = '127.0.0.1:5000'
const namespace = (...pull: string[]) => ({ name: 'team', ...DEFAULT_NAMESPACE_SETTINGS, pull, createdAtMs: 0 })

describe('a namespace may run images', () => {
  it.each([
    // pull, registry, repository, allowed
    [[], LOCAL, 'team/a', true],
    [[], LOCAL, 'team/a/b', true],
    [[], LOCAL, 'team', false],
    [[], LOCAL, 'teams/a', false],
    [[], LOCAL, 'other/a', false],
    [[], 'ghcr.io', 'team/a', false],
    [['other/a'], LOCAL, 'other/a', true],
    [['other/a'], LOCAL, 'other/ab', false],
    [['other/a'], 'ghcr.io', 'other/a', false],
    [['other/*'], LOCAL, 'other/a/b', true],
    [['other/*'], LOCAL, 'other', false],
    [['*'], LOCAL, 'any/thing', true],
    [['*'], 'ghcr.io', 'any/thing', false],
    [['ghcr.io/*'], 'ghcr.io', 'any/thing', true],
    [['ghcr.io/org/*'], 'ghcr.io', 'org/thing', true],
    [['ghcr.io/org/*'], 'ghcr.io', 'other/thing', false],
    [['ghcr.io/org/*'], LOCAL, 'org/thing', false],
    [['localhost:6000/*'], 'localhost:6000', 'a', true],
    [['*/*'], 'ghcr.io', 'any/thing', true],
    [['*/*'], LOCAL, 'other/a', false],
  ] as const)('by %j from %s/%s: %s', (pull, registry, repository, allowed) => {
    expect(mayPull(namespace(...pull), { registry, repository }, LOCAL)).toBe(allowed)
  })

  it('never when it does not exist', () => {
    expect(mayPull(undefined, { registry: LOCAL, repository: 'team/a' }, LOCAL)).toBe(false)
  })

  it('and is told what an administrator would have to allow', () => {
    expect(() => requirePull('team', namespace(), { registry: LOCAL, repository: 'other/a' }, LOCAL)).toThrow(
      expect.objectContaining({
        code: 'image-not-allowed',
        message: 'namespace team may not run images of 127.0.0.1:5000/other/a',
        hint: expect.stringContaining('slipway namespace create team --pull other/a'),
      }),
    )
  })

  it.each(['*', 'a', 'a/*', 'a/b.c_d-e/*', '*/*', 'ghcr.io/*', 'ghcr.io/a/b', 'localhost:5000/a/*'])(
    'takes the entry %s',
    (pattern) => expect(violationsOf(NamespaceRequest, { pull: [pattern] })).toEqual([]),
  )
  it.each(['', '/', 'a*', 'a/', '/a', 'a//*b', 'A/b', 'a b', '**', 'a/*/b'])('refuses the entry "%s"', (pattern) =>
    expect(violationsOf(NamespaceRequest, { pull: [pattern] })).not.toEqual([]),
  )
})
