/**
 * The shapes of what our own processes and files say to each other, checked where it is read. Named and written as TypeBox's, of which this is
 * the small part that messages need: TypeBox itself takes 25 MB in each process (hundreds of modules), which the server alone pays, for the API.
 */
export interface Shape<T = unknown> {
  /** Where and why a value does not fit, `/args/port is more than 65535`; undefined when it fits. */
  problem(value: unknown, path?: string): string | undefined
  /** Exists for the compiler only. */
  readonly type?: T
}

interface OptionalShape<T> extends Shape<T> {
  readonly optional: true
}

/** The type of the values that a shape fits. */
export type Static<S extends Shape> = S extends Shape<infer T> ? T : never

/** Whether a value fits. */
export function fits<T>(shape: Shape<T>, value: unknown): value is T {
  return shape.problem(value) === undefined
}

type Properties = Record<string, Shape>
type OptionalKeys<P extends Properties> = { [K in keyof P]: P[K] extends OptionalShape<unknown> ? K : never }[keyof P]
type Flat<T> = { [K in keyof T]: T[K] }
type ObjectOf<P extends Properties> = Flat<
  { [K in Exclude<keyof P, OptionalKeys<P>>]: Static<P[K]> } & { [K in OptionalKeys<P>]?: Static<P[K]> }
>

interface TextRules {
  minLength?: number
  maxLength?: number
  pattern?: string
}

interface NumberRules {
  minimum?: number
  maximum?: number
  exclusiveMinimum?: number
}

function text({ minLength = 0, maxLength = Number.POSITIVE_INFINITY, pattern }: TextRules = {}): Shape<string> {
  const expression = pattern === undefined ? undefined : new RegExp(pattern)
  return {
    problem: (value, path = '') => {
      if (typeof value !== 'string') return `${path} must be string`
      if (value.length < minLength) return `${path} has fewer than ${minLength} characters`
      if (value.length > maxLength) return `${path} has more than ${maxLength} characters`
      if (expression?.test(value) === false) return `${path} does not match ${pattern}`
      return undefined
    },
  }
}

function number(name: string, isOne: (value: unknown) => boolean, rules: NumberRules = {}): Shape<number> {
  const { minimum = Number.NEGATIVE_INFINITY, maximum = Number.POSITIVE_INFINITY, exclusiveMinimum } = rules
  return {
    problem: (value, path = '') => {
      if (typeof value !== 'number' || !isOne(value)) return `${path} must be ${name}`
      if (value < minimum) return `${path} is less than ${minimum}`
      if (value > maximum) return `${path} is more than ${maximum}`
      if (exclusiveMinimum !== undefined && value <= exclusiveMinimum)
        return `${path} is not more than ${exclusiveMinimum}`
      return undefined
    },
  }
}

function plain<T>(name: string, isOne: (value: unknown) => boolean): Shape<T> {
  return { problem: (value, path = '') => (isOne(value) ? undefined : `${path} must be ${name}`) }
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function object<P extends Properties>(
  properties: P,
  { additionalProperties = true }: { additionalProperties?: boolean } = {},
): Shape<ObjectOf<P>> {
  const known = new Map(Object.entries(properties))
  return {
    problem: (value, path = '') => {
      if (!isObject(value)) return `${path} must be object`
      for (const [name, shape] of known) {
        if (Object.hasOwn(value, name)) {
          const problem = shape.problem(value[name], `${path}/${name}`)
          if (problem !== undefined) return problem
        } else if (!('optional' in shape)) return `${path} lacks ${name}`
      }
      if (additionalProperties) return undefined
      const unknown = Object.keys(value).find((name) => !known.has(name))
      return unknown === undefined ? undefined : `${path} must not have ${unknown.slice(0, 64)}`
    },
  }
}

function record<V>(key: Shape<string>, member: Shape<V>): Shape<Record<string, V>> {
  return {
    problem: (value, path = '') => {
      if (!isObject(value)) return `${path} must be object`
      return first(Object.entries(value), ([name, own]) => {
        const at = `${path}/${name.slice(0, 64)}`
        return key.problem(name, at) ?? member.problem(own, at)
      })
    },
  }
}

function array<V>(member: Shape<V>, { maxItems = Number.POSITIVE_INFINITY }: { maxItems?: number } = {}): Shape<V[]> {
  return {
    problem: (value, path = '') => {
      if (!Array.isArray(value)) return `${path} must be array`
      if (value.length > maxItems) return `${path} has more than ${maxItems} items`
      return first([...value.entries()], ([index, own]) => member.problem(own, `${path}/${index}`))
    },
  }
}

function tuple<A, B>(members: readonly [Shape<A>, Shape<B>]): Shape<[A, B]> {
  return {
    problem: (value, path = '') => {
      if (!Array.isArray(value) || value.length !== 2) return `${path} must be array of 2`
      return first([...members.entries()], ([index, member]) => member.problem(value[index], `${path}/${index}`))
    },
  }
}

function union<S extends readonly Shape[]>(alternatives: readonly [...S]): Shape<Static<S[number]>> {
  return {
    problem: (value, path = '') =>
      alternatives.some((shape) => shape.problem(value, path) === undefined)
        ? undefined
        : `${path} is none of what it may be`,
  }
}

function first<T>(items: readonly T[], problemOf: (item: T) => string | undefined): string | undefined {
  for (const item of items) {
    const problem = problemOf(item)
    if (problem !== undefined) return problem
  }
  return undefined
}

export const Type = {
  String: text,
  Integer: (rules?: NumberRules) => number('integer', Number.isInteger, rules),
  Number: (rules?: NumberRules) => number('number', Number.isFinite, rules),
  Boolean: () => plain<boolean>('boolean', (value) => typeof value === 'boolean'),
  Null: () => plain<null>('null', (value) => value === null),
  Unknown: () => plain<unknown>('anything', () => true),
  Literal: <const L extends string | number | boolean>(literal: L) =>
    plain<L>(JSON.stringify(literal), (value) => value === literal),
  Object: object,
  Record: record,
  Array: array,
  Tuple: tuple,
  Union: union,
  Optional: <T>(shape: Shape<T>): OptionalShape<T> => ({ ...shape, optional: true }),
} as const
