import Type, { type Static, type TSchema } from 'typebox'
import { Value } from 'typebox/value'
import { DEFAULT_ENV_BYTES, environmentProblems } from './environment.ts'
import { checked, invalid, type Violation } from './validation.ts'
import { Settings } from './version.ts'

const orNull = <S extends TSchema>(schema: S) => Type.Optional(Type.Union([schema, Type.Null()]))
const words = Type.Array(Type.String({ maxLength: 131072 }), { maxItems: 256 })
const wordsOrText = Type.Union([words, Type.String({ maxLength: 131072 })], {
  description: 'a list, or a text that is split on blanks',
})

/**
 * Settings as a caller gives them: what is named changes, null takes away (a JSON merge patch, RFC 7396),
 * and `command` and `args` may be one text, split on blanks (facts: scf-contract 1.1).
 */
export const SettingsPatch = Type.Object(
  {
    ...Type.Partial(Settings).properties,
    command: orNull(wordsOrText),
    args: orNull(wordsOrText),
    env: Type.Optional(Type.Record(Type.String(), Type.Union([Type.String(), Type.Null()]))),
    maxInstances: orNull(Type.Integer({ minimum: 1, maximum: 10000 })),
  },
  { additionalProperties: false },
)
export type SettingsPatch = Static<typeof SettingsPatch>

/** What a namespace allows its functions. */
export interface SettingsBounds {
  maxEnvBytes: number
  maxMemoryMb: number
}
export const DEFAULT_BOUNDS: SettingsBounds = { maxEnvBytes: DEFAULT_ENV_BYTES, maxMemoryMb: 122_880 }

/**
 * The whole settings that `patch` asks for: laid over `current` (absent: over the defaults), checked against every rule.
 * Throws `settings-invalid`, which names all problems at once.
 */
export function resolveSettings(patch: SettingsPatch, bounds: SettingsBounds, current?: Settings): Settings {
  checked(SettingsPatch, patch, 'settings')
  const { env, command, args, ...plain } = patch
  const merged = {
    ...current,
    ...plain,
    ...(command === undefined ? {} : { command: split(command) }),
    ...(args === undefined ? {} : { args: split(args) }),
    env: withoutNulls({ ...current?.env, ...env }),
  }
  const settings = checked(Settings, Value.Default(Settings, withoutNulls(merged)), 'settings')
  const problems = ruleProblems(settings, bounds)
  if (problems.length > 0) throw invalid('settings', problems, 'settings-invalid')
  return settings
}

/** The rules that a schema cannot say (facts: scf-contract 8.4, 10). */
function ruleProblems(settings: Settings, bounds: SettingsBounds): Violation[] {
  const problems = environmentProblems(settings.env, bounds.maxEnvBytes)
  const { memory, type } = settings
  // Accepted by the schema, since the name is settled; refused until the instance of a job is built.
  if (type === 'job') problems.push({ path: 'type', message: 'job functions are not run by this version' })
  if (memory !== 64 && memory % 128 !== 0) {
    problems.push({ path: 'memory', message: `must be 64 or a multiple of 128 (MB), not ${memory}` })
  }
  if (memory > bounds.maxMemoryMb) {
    problems.push({ path: 'memory', message: `must be at most ${bounds.maxMemoryMb} (MB) in this namespace` })
  }
  for (const [path, list] of [
    ['command', settings.command],
    ['args', settings.args],
  ] as const) {
    if (list?.some((word) => word.includes('\0')) === true) problems.push({ path, message: 'must not contain NUL' })
  }
  return problems
}

function split(value: string | string[] | null): string[] | null {
  return typeof value === 'string' ? value.split(/\s+/).filter((word) => word !== '') : value
}

function withoutNulls<T>(value: Record<string, T | null>): Record<string, T> {
  return Object.fromEntries(Object.entries(value).filter((entry): entry is [string, T] => entry[1] !== null))
}
