import type { FunctionYaml } from '../api/index.ts'
import { AppError } from '../common/index.ts'
import { type PackageJson, parsePackageJson } from './package-json.ts'

/** What of a source decides how it is built: names, and the text of the few files that are read for it. */
export interface SourceFacts {
  /** Relative paths of all regular files. */
  files: ReadonlySet<string>
  packageJson: string | undefined
  bootstrap: string | undefined
}

/** How the process of an instance is started. */
export type Start =
  | { kind: 'handler'; handler: string; contract: 'scf' }
  | { kind: 'command'; command: string[]; args: string[]; from: 'function.yaml' | 'scf_bootstrap' | 'package.json' }

export interface Detected {
  runtime: RuntimeId
  type: 'event' | 'web' | 'job'
  start: Start
  package: PackageJson | undefined
  /** The lock file that says which dependencies are installed. */
  lockFile: 'npm-shrinkwrap.json' | 'package-lock.json' | undefined
}

/** The runtimes that source can be built for, newest first for each language. */
const RUNTIMES = ['node26'] as const
export type RuntimeId = (typeof RUNTIMES)[number]

const NODE_EXTENSIONS = ['.js', '.mjs', '.cjs', '.ts', '.mts', '.cts']
const BOOTSTRAP = 'scf_bootstrap'
/** Where the cloud service has its interpreters (facts: scf-contract 8.3); the base image answers to the one of its own version. */
const INTERPRETER = /\/var\/lang\/([a-z]+[0-9.]*)\//

/** Decides from facts alone; settings given by the user win over what the files suggest. Throws `source-not-recognised` and its kin. */
export function detect(facts: SourceFacts, settings: FunctionYaml): Detected {
  const runtime = detectRuntime(facts, settings.runtime)
  const packageJson = facts.packageJson === undefined ? undefined : parsePackageJson(facts.packageJson)
  const start = detectStart(facts, settings, runtime, packageJson)
  const type = settings.type ?? (start.kind === 'handler' ? 'event' : 'web')
  const lockFile = lockFileOf(facts)
  const foreign = ['yarn.lock', 'pnpm-lock.yaml', 'bun.lock'].find((name) => facts.files.has(name))
  if (packageJson?.dependencyKey !== undefined && lockFile === undefined && foreign !== undefined) {
    throw new AppError(`${foreign} cannot be read by this version`, {
      code: 'build-unsupported',
      fault: 'user',
      hint: 'make a lock file that can: npm install --package-lock-only',
    })
  }
  return { runtime, type, start, package: packageJson, lockFile }
}

function detectRuntime(facts: SourceFacts, asked: string | undefined): RuntimeId {
  if (asked !== undefined) {
    const known = RUNTIMES.find((runtime) => runtime === asked || runtime.replace(/[0-9.]+$/, '') === asked)
    if (known !== undefined) return known
    throw unsupported(`runtime ${asked} is not known: there is ${RUNTIMES.join(', ')}`)
  }
  const hasNode = facts.packageJson !== undefined || [...facts.files].some(isNodeFile)
  if (hasNode || facts.bootstrap !== undefined) return 'node26'
  throw new AppError('the source is not recognised: no package.json and no .js, .mjs or .ts file', {
    code: 'source-not-recognised',
    fault: 'user',
    hint: 'check the path, or name the runtime by --runtime or in function.yaml',
  })
}

function isNodeFile(path: string): boolean {
  return NODE_EXTENSIONS.some((extension) => path.endsWith(extension)) && !path.includes('/')
}

/** An event function has a handler; a web function or a job is a program of its own: `command`, scf_bootstrap or the start script, in that order. */
function detectStart(
  facts: SourceFacts,
  settings: FunctionYaml,
  runtime: RuntimeId,
  packageJson: PackageJson | undefined,
): Start {
  const { command, args = [], handler, type } = settings
  const mayHandle = type !== 'web' && type !== 'job'
  if (command !== undefined) return { kind: 'command', command, args, from: 'function.yaml' }
  if (mayHandle && handler !== undefined) return handlerStart(facts, settings, handler)
  if (type !== 'event' && facts.bootstrap !== undefined) return bootstrapStart(facts.bootstrap, args, runtime)
  const candidate = handler ?? defaultHandler(facts)
  if (mayHandle && handlerFile(facts, candidate) !== undefined) return handlerStart(facts, settings, candidate)
  const script = packageJson?.startScript
  if (type !== 'event' && script !== undefined) {
    const words = script.split(/\s+/)
    // A plain list of words needs no shell; bash replaces itself by the last command of any other, so that signals arrive.
    const plain = /^[\w@./:=+,-]+(?:\s+[\w@./:=+,-]+)*$/.test(script) && words[0]?.includes('=') === false
    const run = plain ? words : ['/bin/bash', '-c', script]
    return { kind: 'command', command: run, args, from: 'package.json' }
  }
  throw noStart(type, candidate)
}

/** `index.main_handler`; for a single file with another name, that file's. */
function defaultHandler(facts: SourceFacts): string {
  const [only, ...others] = facts.files
  const stem = only === undefined || others.length > 0 ? 'index' : only.replace(/\.[cm]?[jt]s$/, '')
  return `${stem}.main_handler`
}

function handlerFile(facts: SourceFacts, handler: string): string | undefined {
  const stem = handler.slice(0, handler.lastIndexOf('.'))
  return NODE_EXTENSIONS.map((extension) => stem + extension).find((path) => facts.files.has(path))
}

function handlerStart(facts: SourceFacts, settings: FunctionYaml, handler: string): Start {
  const contract = settings.contract ?? 'scf'
  if (contract !== 'scf') throw unsupported(`contract ${contract} is not supported by this version`)
  if (handlerFile(facts, handler) !== undefined) return { kind: 'handler', handler, contract }
  const stem = handler.slice(0, handler.lastIndexOf('.'))
  throw new AppError(`handler ${handler}: the source has no ${stem}${NODE_EXTENSIONS.join(` or ${stem}`)}`, {
    code: 'handler-not-found',
    fault: 'user',
    hint: 'handler is FILE.FUNCTION: the file without its extension, a dot, the exported function',
  })
}

function bootstrapStart(text: string, args: string[], runtime: RuntimeId): Start {
  const invalid = (why: string, hint: string): AppError =>
    new AppError(`${BOOTSTRAP} ${why}`, { code: 'bootstrap-invalid', fault: 'user', hint })
  if (!text.startsWith('#!')) throw invalid('has no interpreter', 'make #!/bin/bash its first line')
  if (text.includes('\r\n')) throw invalid('has CRLF line ends', 'store it with LF line ends')
  for (const [index, line] of text.split('\n').entries()) {
    const named = line.startsWith('#') && index > 0 ? undefined : INTERPRETER.exec(line)?.[1]
    if (named !== undefined && named !== runtime) {
      const hint = `write /var/lang/${runtime}/ or only the program's name`
      throw invalid(`line ${index + 1} names /var/lang/${named}/, and the runtime is ${runtime}`, hint)
    }
  }
  return { kind: 'command', command: [`/var/user/${BOOTSTRAP}`], args, from: BOOTSTRAP }
}

function lockFileOf(facts: SourceFacts): Detected['lockFile'] {
  return (['npm-shrinkwrap.json', 'package-lock.json'] as const).find((name) => facts.files.has(name))
}

function noStart(type: FunctionYaml['type'], handler: string): AppError {
  const what =
    type === 'web' || type === 'job'
      ? `a ${type === 'web' ? 'web function' : 'job'} needs \`command\` in function.yaml, a scf_bootstrap file or a start script in package.json`
      : `there is no file for handler ${handler}${type === 'event' ? '' : ', no scf_bootstrap and no start script in package.json'}`
  return new AppError(`how the function starts cannot be told: ${what}`, {
    code: 'handler-not-found',
    fault: 'user',
    hint: 'name handler (FILE.FUNCTION) or command in function.yaml',
  })
}

function unsupported(message: string): AppError {
  return new AppError(message, { code: 'build-unsupported', fault: 'user' })
}
