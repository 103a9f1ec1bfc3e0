import { basename, dirname, extname, join } from 'node:path'
import { parseDocument } from 'yaml'
import { FunctionYaml, invalid, NAME_PATTERN, violationsOf } from '../api/index.ts'
import { AppError } from '../common/index.ts'
import type { Source } from './source.ts'
import { readSmallFile } from './source-file.ts'

const FILE = 'function.yaml'
const MAX_BYTES = 256 * 1024

/** Keys that the schema knows and nothing acts on yet: refused, because a setting without effect misleads. */
const NOT_BUILT = ['image', 'provisioned', 'secrets', 'mounts', 'packages', 'session'] as const

/**
 * What a source's `function.yaml` says, checked; empty when there is none. Throws `function-file-invalid`, which names every
 * problem at once, and the line where the text itself is no YAML.
 */
export function readFunctionFile(source: Source): FunctionYaml {
  if (source.kind === 'file') return {}
  const text = readSmallFile(join(source.path, FILE), MAX_BYTES)
  return text === undefined ? {} : parseFunctionFile(text)
}

/** The same for a text. YAML 1.2 core: no aliases, so that no short text becomes a large value. */
export function parseFunctionFile(text: string): FunctionYaml {
  const document = parseDocument(text, { schema: 'core', uniqueKeys: true })
  const [error] = document.errors
  if (error !== undefined) {
    throw new AppError(`${FILE} cannot be read: ${error.message}`, { code: 'function-file-invalid', fault: 'user' })
  }
  const value: unknown = toPlain(() => document.toJS({ maxAliasCount: 0 })) ?? {}
  const problems = violationsOf(FunctionYaml, value)
  if (problems.length > 0) throw invalid(FILE, problems, 'function-file-invalid')
  const settings = value as FunctionYaml
  const unbuilt = NOT_BUILT.filter((key) => settings[key] !== undefined)
  if (unbuilt.length > 0) {
    const message = 'is not supported by this version'
    throw invalid(
      FILE,
      unbuilt.map((path) => ({ path, message })),
      'function-file-invalid',
    )
  }
  return settings
}

function toPlain(convert: () => unknown): unknown {
  try {
    return convert()
  } catch (cause) {
    throw new AppError(`${FILE} cannot be read: it uses aliases, which are not allowed`, {
      code: 'function-file-invalid',
      fault: 'user',
      cause,
    })
  }
}

/** The name of a function whose settings give none: that of its directory, or of its file without the extension. Throws `name-invalid`. */
export function defaultName(source: Source): string {
  const last = basename(source.path)
  const stem = source.kind === 'file' ? last.slice(0, last.length - extname(last).length) : last
  const generic = source.kind === 'file' && stem === 'index' ? basename(dirname(source.path)) : stem
  const name = generic.toLowerCase().replaceAll(/[^a-z0-9-]+/g, '-')
  if (new RegExp(NAME_PATTERN).test(name)) return name
  throw new AppError(`"${generic}" cannot be the name of a function`, {
    code: 'name-invalid',
    fault: 'user',
    hint: 'give one by --name or in function.yaml: lower-case letters, digits and dashes, beginning with a letter',
  })
}
