import type { Static, TSchema } from 'typebox'
import { Compile, type Validator } from 'typebox/compile'
import { Settings as TypeboxSettings } from 'typebox/system'
import { Value } from 'typebox/value'
import { AppError } from '../common/index.ts'

/** One thing wrong with a value: where (`settings.memory`, empty for the value itself) and what. */
export interface Violation {
  path: string
  message: string
}

const MAX_PROBLEMS = 20
// One union of constants alone makes an error for each of them: with the library's bound of 8 later problems would be lost.
TypeboxSettings.Set({ maxErrors: 100 })
const compiled = new WeakMap<TSchema, Validator>()

function validator(schema: TSchema): Validator {
  const known = compiled.get(schema)
  if (known !== undefined) return known
  const made = Compile(schema)
  compiled.set(schema, made)
  return made
}

/** Everything that is wrong with `value`, at most 20 problems; empty when it fits the schema. */
export function violationsOf(schema: TSchema, value: unknown): Violation[] {
  const check = validator(schema)
  if (check.Check(value)) return []
  const problems = new Map<string, string>()
  for (const error of check.Errors(value)) {
    const path = pathOf(error.instancePath)
    if (error.keyword === 'boolean') problems.set(path, 'is not known')
    else if (error.keyword === 'anyOf') problems.set(path, choiceMessage(schema, error.schemaPath) ?? error.message)
    else if (error.keyword !== 'additionalProperties' && !problems.has(path)) problems.set(path, error.message)
    if (problems.size >= MAX_PROBLEMS) break
  }
  return [...problems].map(([path, message]) => ({ path, message }))
}

/** Checks `value` and returns it typed. Throws `request-invalid`, which names every problem at once. */
export function checked<S extends TSchema>(schema: S, value: unknown, what: string): Static<S> {
  const problems = violationsOf(schema, value)
  if (problems.length > 0) throw invalid(what, problems)
  return value as Static<S>
}

/** As `checked`, for values that come as text (a query): `"5"` becomes 5 and `"true"` true where the schema wants it. */
export function checkedText<S extends TSchema>(schema: S, value: unknown, what: string): Static<S> {
  return checked(schema, Value.Convert(schema, value), what)
}

export function invalid(what: string, problems: readonly Violation[], code = 'request-invalid'): AppError {
  const said = problems.map(({ path, message }) => (path === '' ? message : `${path} ${message}`)).join('; ')
  return new AppError(`${what} is not valid: ${said}`, { code, fault: 'user', details: { problems } })
}

function pathOf(instancePath: string): string {
  return instancePath.slice(1).replaceAll('/', '.').replaceAll('~1', '/').replaceAll('~0', '~').slice(0, 200)
}

/** `must be one of event, web, job` for a union of constants: what a person needs instead of one error for each. */
function choiceMessage(root: TSchema, schemaPath: string): string | undefined {
  let schema: unknown = root
  for (const key of schemaPath.slice(2).split('/')) {
    if (key !== '') schema = (schema as Record<string, unknown> | undefined)?.[key]
  }
  const choices = (schema as { anyOf?: { const?: unknown; type?: unknown }[] } | undefined)?.anyOf
  const constants = choices?.map((choice) => choice.const ?? (choice.type === 'null' ? null : undefined))
  if (constants === undefined || constants.includes(undefined)) return undefined
  return `must be one of ${constants.map(String).join(', ')}`
}
