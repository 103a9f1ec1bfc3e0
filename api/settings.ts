import Type, { type Static, type TSchema } from 'typebox'
import { Value } from 'typebox/value'
import { DEFAULT_ENV_BYTES, environmentProblems, MAX_EXEC_BYTES } from './environment.ts'
import { checked, invalid, type Violation } from './validation.ts'
import { DEFAULT_LIMITS, Limits, Settings, WebSocketSettings } from './version.ts'

const orNull = <S extends TSchema>(schema: S) => Type.Optional(Type.Union([schema, Type.Null()]))
const eachOrNull = <S extends Type.TProperties>(object: Type.TObject<S>) =>
  Type.Object(Object.fromEntries(Object.entries(object.properties).map(([name, schema]) => [name, orNull(schema)])), {
    additionalProperties: false,
  })
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
    auth: orNull(Type.Union([Type.Literal('none'), Type.Literal('token')])),
    limits: orNull(eachOrNull(Limits)),
    websocket: orNull(eachOrNull(WebSocketSettings)),
  },
  { additionalProperties: false },
)
export type SettingsPatch = Static<typeof SettingsPatch>

/** What a namespace allows its functions. */
export interface SettingsBounds {
  maxEnvBytes: number
  maxMemoryMb: number
  /** Body of a web call, either way: what `limits` may ask for. */
  maxBodyBytes: number
}
export const DEFAULT_BOUNDS: SettingsBounds = {
  maxEnvBytes: DEFAULT_ENV_BYTES,
  maxMemoryMb: 122_880,
  maxBodyBytes: 1024 ** 3,
}

/**
 * The whole settings that `patch` asks for: laid over `current` (absent: over the defaults), checked against every rule.
 * Throws `settings-invalid`, which names all problems at once.
 */
export function resolveSettings(patch: SettingsPatch, bounds: SettingsBounds, current?: Settings): Settings {
  checked(SettingsPatch, patch, 'settings')
  const { env, command, args, limits, websocket, ...plain } = patch
  const merged = {
    ...current,
    ...plain,
    ...(command === undefined ? {} : { command: split(command) }),
    ...(args === undefined ? {} : { args: split(args) }),
    env: withoutNulls({ ...current?.env, ...env }),
    limits: laidOver(current?.limits, limits),
    websocket: laidOver(current?.websocket, websocket),
  }
  const settings = checked(Settings, Value.Default(Settings, withoutNulls(merged)), 'settings')
  const problems = ruleProblems(settings, bounds)
  if (problems.length > 0) throw invalid('settings', problems, 'settings-invalid')
  return settings
}

/** The rules that a schema cannot say (facts: scf-contract 8.4, 10). */
function ruleProblems(settings: Settings, bounds: SettingsBounds): Violation[] {
  const problems = environmentProblems(settings.env, bounds.maxEnvBytes)
  const { memory, type, provisioned, maxInstances } = settings
  if (type === 'job') problems.push(...jobProblems(settings))
  problems.push(...webProblems(settings, bounds))
  if (provisioned > (maxInstances ?? provisioned))
    problems.push({ path: 'provisioned', message: `must be at most maxInstances, which is ${maxInstances}` })
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
    if (list?.some((word) => Buffer.byteLength(word) > MAX_EXEC_BYTES) === true)
      problems.push({
        path,
        message: `must have no word above ${MAX_EXEC_BYTES} bytes, which is what the kernel takes`,
      })
  }
  return problems
}

/** An instance of a job begins with its event and ends with its process (facts: scf-contract 2): nothing of it can be there before. */
function jobProblems({ concurrency, prewarm, provisioned }: Settings): Violation[] {
  return [
    ...(concurrency > 1
      ? [{ path: 'concurrency', message: 'must be 1 for a job: each has an instance of its own' }]
      : []),
    ...(provisioned > 0
      ? [{ path: 'provisioned', message: 'must be 0 for a job: its instance is made of its event' }]
      : []),
    ...(prewarm > 0 ? [{ path: 'prewarm', message: 'must be 0 for a job: its instance is made of its event' }] : []),
  ]
}

function webProblems(
  { type, timeout, auth, limits, websocket }: Settings,
  { maxBodyBytes }: SettingsBounds,
): Violation[] {
  const problems: Violation[] = []
  if (type !== 'web') {
    for (const [path, value] of Object.entries({ auth, limits, websocket }))
      if (value !== undefined) problems.push({ path, message: 'is for web functions' })
  }
  for (const path of ['requestBytes', 'responseBytes'] as const) {
    const bound = Math.max(maxBodyBytes, DEFAULT_LIMITS[path])
    if ((limits?.[path] ?? 0) > bound)
      problems.push({ path: `limits.${path}`, message: `must be at most ${bound} in this namespace` })
  }
  // Facts: scf-contract 1.10.
  if ((websocket?.idleTimeout ?? 0) > timeout)
    problems.push({ path: 'websocket.idleTimeout', message: `must be at most the timeout, which is ${timeout} s` })
  return problems
}

/** Null, which takes the setting away, when nothing is left. */
function laidOver<T extends object>(
  current: T | undefined,
  patch: Record<string, unknown> | null | undefined,
): Record<string, unknown> | null {
  if (patch === null) return null
  const merged = withoutNulls({ ...current, ...patch })
  return Object.keys(merged).length === 0 ? null : merged
}

function split(value: string | string[] | null): string[] | null {
  return typeof value === 'string' ? value.split(/\s+/).filter((word) => word !== '') : value
}

function withoutNulls<T>(value: Record<string, T | null>): Record<string, T> {
  return Object.fromEntries(Object.entries(value).filter((entry): entry is [string, T] => entry[1] !== null))
}
