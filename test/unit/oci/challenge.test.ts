import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { parseChallenges } from '../../../oci/index.ts'

const read = (header: string) =>
  parseChallenges(header).map(({ scheme, parameters }) => [scheme, Object.fromEntries(parameters)])

describe('a WWW-Authenticate header', () => {
  const cases: [string, string, unknown][] = [
    [
      'commas inside quoted values',
      'Bearer realm="https://r.example/token",service="r.example",scope="repository:a/b:pull,push repository:c:pull"',
      [
        [
          'bearer',
          {
            realm: 'https://r.example/token',
            service: 'r.example',
            scope: 'repository:a/b:pull,push repository:c:pull',
          },
        ],
      ],
    ],
    ['parameter names of any case', 'BEARER Realm="x", SERVICE=y', [['bearer', { realm: 'x', service: 'y' }]]],
    ['escapes in quoted values', 'Basic realm="a \\"b\\" \\\\"', [['basic', { realm: 'a "b" \\' }]]],
    [
      'two challenges',
      'Basic realm="a", Bearer realm="b",service="c"',
      [
        ['basic', { realm: 'a' }],
        ['bearer', { realm: 'b', service: 'c' }],
      ],
    ],
    [
      'a scheme without parameters before another',
      'Negotiate, Basic realm="a"',
      [
        ['negotiate', {}],
        ['basic', { realm: 'a' }],
      ],
    ],
    [
      'a token68 before another scheme',
      'Negotiate YWJj==, Basic realm="a"',
      [
        ['negotiate', {}],
        ['basic', { realm: 'a' }],
      ],
    ],
    [
      'blanks around the equals sign',
      'Bearer realm = "a" , error = "insufficient_scope"',
      [['bearer', { realm: 'a', error: 'insufficient_scope' }]],
    ],
    ['the first of two values for a name', 'Bearer realm="a",realm="b"', [['bearer', { realm: 'a' }]]],
    ['an empty value', 'Basic realm=""', [['basic', { realm: '' }]]],
    [
      'what comes before a quote without end',
      'Basic realm="a", Bearer realm="b',
      [
        ['basic', { realm: 'a' }],
        ['bearer', {}],
      ],
    ],
    ['nothing in an empty one', '', []],
    ['nothing in garbage', '"=,;', []],
  ]
  it.each(cases)('gives %s', (_title, header, expected) => {
    expect(read(header)).toEqual(expected)
  })

  const token = fc.stringMatching(/^[a-z!#$%&'*+.^_`|~0-9-]{1,12}$/)
  const text = fc.stringMatching(/^[\x20-\x7e]{0,30}$/)
  const challenge = fc.record({
    scheme: token,
    parameters: fc.uniqueArray(fc.tuple(token, text), { selector: ([name]) => name, minLength: 1, maxLength: 4 }),
  })
  const quote = (value: string): string => `"${value.replaceAll(/["\\]/g, '\\$&')}"`

  it('gives back every challenge that was written by the rules', () => {
    fc.assert(
      fc.property(fc.array(challenge, { maxLength: 3 }), (challenges) => {
        const header = challenges
          .map(
            ({ scheme, parameters }) =>
              `${scheme} ${parameters.map(([name, value]) => `${name}=${quote(value)}`).join(', ')}`,
          )
          .join(', ')
        const expected = challenges.map(({ scheme, parameters }) => ({ scheme, parameters: new Map(parameters) }))
        expect(parseChallenges(header)).toEqual(expected)
      }),
    )
  })

  it('never fails, and ends in good time, whatever it holds', () => {
    fc.assert(fc.property(fc.string({ maxLength: 2000 }), (header) => void parseChallenges(header)))
    const startedMs = performance.now()
    for (const piece of ['"', '\\', 'a=', 'a="', 'a,', ' ', 'a ', '=', 'a="\\"'])
      parseChallenges(`Bearer ${piece.repeat(50_000)}`)
    expect(performance.now() - startedMs).toBeLessThan(500)
  })
})
