import { AppError, messageOf } from '../common/index.ts'

/** What of a package.json decides a build. */
export interface PackageJson {
  startScript: string | undefined
  /** The parts that decide what is installed, as canonical JSON; undefined when nothing is. */
  dependencyKey: string | undefined
}

/** Parts of package.json that npm reads to decide what is installed (package.json documentation of npm). */
const INSTALLED = ['dependencies', 'optionalDependencies', 'peerDependencies'] as const
const SHAPING = [
  'overrides',
  'bundleDependencies',
  'bundledDependencies',
  'peerDependenciesMeta',
  'workspaces',
] as const

/** Throws `package-json-invalid`. */
export function parsePackageJson(text: string): PackageJson {
  const value = parse(text)
  const scripts = record(value['scripts'])
  const start = scripts['start']
  const installs = INSTALLED.some((key) => Object.keys(record(value[key])).length > 0)
  const parts = [...INSTALLED, ...SHAPING].map((key) => [key, sorted(value[key] ?? null)])
  return {
    startScript: typeof start === 'string' && start.trim() !== '' ? start.trim() : undefined,
    dependencyKey: installs ? JSON.stringify(parts) : undefined,
  }
}

function parse(text: string): Record<string, unknown> {
  const invalid = (why: string, cause?: unknown): AppError =>
    new AppError(`package.json is not valid: ${why}`, { code: 'package-json-invalid', fault: 'user', cause })
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch (cause) {
    throw invalid(messageOf(cause), cause)
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw invalid('it is no object')
  return value as Record<string, unknown>
}

function record(value: unknown): Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Record<string, unknown>) : {}
}

/** The same value with the keys of every object in order, so that equal meaning is equal text. */
function sorted(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sorted)
  if (typeof value !== 'object' || value === null) return value
  const entries = Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1))
  return Object.fromEntries(entries.map(([key, inner]) => [key, sorted(inner)]))
}
