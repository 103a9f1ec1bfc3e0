import { AppError, messageOf } from '../common/index.ts'
import { canonicalJson } from '../oci/index.ts'

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

/** Specifiers that npm fetches from elsewhere than its registry (npm documentation, package.json, dependencies). */
const ELSEWHERE = /^(git|https?|file|link|workspace|github|gitlab|bitbucket|gist)\b.*:|^[^@\s:]+\/[^@\s]+$|^[.~/]/

/** Throws `package-json-invalid`, and `build-unsupported` for dependencies that lie elsewhere than in the registry. */
export function parsePackageJson(text: string): PackageJson {
  const value = parse(text)
  const start = record(value['scripts'])['start']
  const dependencies = INSTALLED.flatMap((key) => Object.entries(record(value[key])))
  for (const [name, specifier] of dependencies) {
    if (typeof specifier === 'string' && ELSEWHERE.test(specifier)) throw elsewhere(`${name} is "${specifier}"`)
  }
  if (dependencies.length > 0 && value['workspaces'] !== undefined) throw elsewhere('there are workspaces')
  const parts = [...INSTALLED, ...SHAPING].map((key) => [key, value[key] ?? null])
  return {
    startScript: typeof start === 'string' && start.trim() !== '' ? start.trim() : undefined,
    dependencyKey: dependencies.length > 0 ? canonicalJson(parts) : undefined,
  }
}

function elsewhere(what: string): AppError {
  return new AppError(`dependencies of package.json cannot be installed: ${what}`, {
    code: 'build-unsupported',
    fault: 'user',
    hint: 'only versions from the package registry can be installed by a build: bundle the others into the source',
  })
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
