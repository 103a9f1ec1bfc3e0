import { describe, expect, expectTypeOf, it } from 'vitest'
import { fits, type Static, Type } from '../../../common/index.ts'

const Call = Type.Object(
  {
    id: Type.Integer({ minimum: 1, maximum: 9 }),
    op: Type.Union([Type.Literal('start'), Type.Literal('stop')]),
    name: Type.Optional(Type.String({ minLength: 1, maxLength: 4, pattern: '^[a-z]+$' })),
    env: Type.Record(Type.String({ maxLength: 3 }), Type.String()),
    args: Type.Array(Type.Boolean(), { maxItems: 2 }),
    pair: Type.Tuple([Type.String(), Type.Null()]),
    share: Type.Number({ exclusiveMinimum: 0 }),
    rest: Type.Unknown(),
  },
  { additionalProperties: false },
)
const call = { id: 1, op: 'stop', env: { A: 'b' }, args: [true], pair: ['x', null], share: 0.5, rest: null }

describe('a shape', () => {
  it('fits what it describes, and tells the compiler so', () => {
    const value: unknown = call
    expect(fits(Call, value)).toBe(true)
    expectTypeOf<Static<typeof Call>>().toEqualTypeOf<{
      id: number
      op: 'start' | 'stop'
      name?: string
      env: Record<string, string>
      args: boolean[]
      pair: [string, null]
      share: number
      rest: unknown
    }>()
  })

  it.each([
    [{ id: 0 }, '/id is less than 1'],
    [{ id: 10 }, '/id is more than 9'],
    [{ id: 1.5 }, '/id must be integer'],
    [{ id: Number.NaN }, '/id must be integer'],
    [{ op: 'pause' }, '/op is none of what it may be'],
    [{ name: '' }, '/name has fewer than 1 characters'],
    [{ name: 'abcde' }, '/name has more than 4 characters'],
    [{ name: 'A' }, '/name does not match ^[a-z]+$'],
    [{ name: undefined }, '/name must be string'],
    [{ env: { LONG: 'x' } }, '/env/LONG has more than 3 characters'],
    [{ env: { A: 1 } }, '/env/A must be string'],
    [{ env: ['x'] }, '/env must be object'],
    [{ args: [true, 1] }, '/args/1 must be boolean'],
    [{ args: [true, true, true] }, '/args has more than 2 items'],
    [{ args: {} }, '/args must be array'],
    [{ pair: ['x'] }, '/pair must be array of 2'],
    [{ pair: ['x', 0] }, '/pair/1 must be null'],
    [{ share: 0 }, '/share is not more than 0'],
    [{ share: Number.POSITIVE_INFINITY }, '/share must be number'],
    [{ more: 1 }, ' must not have more'],
  ])('does not fit %j', (change, problem) => {
    expect(Call.problem({ ...call, ...change })).toBe(problem)
  })

  it.each([[null], [[]], ['text'], [undefined]])('of an object does not fit %j', (value) => {
    expect(Call.problem(value)).toBe(' must be object')
  })

  it('takes no name of the prototype for a member', () => {
    const { id: _, ...without } = call
    expect(Call.problem(without)).toBe(' lacks id')
    expect(Type.Object({ constructor: Type.Unknown() }).problem({})).toBe(' lacks constructor')
    expect(Call.problem(JSON.parse(JSON.stringify(call).replace('"id":1', '"id":1,"__proto__":1')))).toBe(
      ' must not have __proto__',
    )
  })
})
