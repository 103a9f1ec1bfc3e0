import { parseArgs } from 'node:util'
import { AppError, messageOf } from '../common/index.ts'
import type { ApiClient } from './api-client.ts'
import type { Output } from './output.ts'

/** An option of a command. `placeholder` names its value; without one it is a switch. */
export interface Option {
  description: string
  placeholder?: string
  short?: string
  /** May be given more than once. */
  many?: true
}
export type Options = Record<string, Option>

type ValueOf<O extends Option> = O extends { placeholder: string; many: true }
  ? string[]
  : O extends { placeholder: string }
    ? string
    : boolean
export type Values<O extends Options> = { [K in keyof O]?: ValueOf<O[K]> }

/** What a command works with. */
export interface Context {
  output: Output
  env: NodeJS.ProcessEnv
  cwd: string
  stdin: AsyncIterable<Buffer | string>
  /** Aborted by Ctrl-C. */
  signal: AbortSignal
  /** The platform's API; found and opened when first asked for. Throws `server-unreachable`, `token-missing`. */
  api(): ApiClient
}

export interface Command<O extends Options = Options> {
  /** What stands behind the command's name, for example `NAME [ID]`. */
  usage: string
  /** Lines of help below the usage. */
  details?: string
  options: O
  /** Answers the exit code. */
  run(context: Context, values: Values<O>, positionals: string[]): Promise<number>
}

/** Keeps the options' types for `run`. */
export function defineCommand<const O extends Options>(command: Command<O>): Command<O> {
  return command
}

/** Options that every command takes. */
export const COMMON_OPTIONS = {
  output: { short: 'o', placeholder: 'text|json', description: 'what stdout carries (default text)' },
  help: { short: 'h', description: 'this help' },
} as const satisfies Options

export const NAMESPACE_OPTION = {
  namespace: { short: 'n', placeholder: 'NS', description: 'namespace (default $SLIPWAY_NAMESPACE, else "default")' },
} as const satisfies Options

export function namespaceOf(context: Context, given: string | undefined): string {
  return given ?? (context.env['SLIPWAY_NAMESPACE'] || 'default')
}

/** Reads a command line. Throws `usage`. */
export function readArguments(
  options: Options,
  args: readonly string[],
): { values: Values<Options>; positionals: string[] } {
  const config = Object.fromEntries(
    Object.entries(options).map(([name, option]) => [
      name,
      {
        type: option.placeholder === undefined ? ('boolean' as const) : ('string' as const),
        ...(option.short === undefined ? {} : { short: option.short }),
        ...(option.many === undefined ? {} : { multiple: true }),
      },
    ]),
  )
  try {
    const { values, positionals } = parseArgs({
      args: [...args],
      options: config,
      allowPositionals: true,
      strict: true,
    })
    return { values: values as Values<Options>, positionals }
  } catch (thrown) {
    throw usageError(messageOf(thrown).split('. To specify')[0] ?? '')
  }
}

/** Exactly the positionals that the command wants: `min` to `max` of them. Throws `usage`. */
export function expectPositionals(positionals: readonly string[], names: readonly string[], min = names.length): void {
  const missing = names[positionals.length]
  if (positionals.length < min && missing !== undefined) throw usageError(`${missing} is missing`)
  const extra = positionals[names.length]
  if (extra !== undefined) throw usageError(`"${extra}" is one argument too many`)
}

/** The one function that a command is about, `NAME` in a namespace. Throws `usage`. */
export function functionNamed(
  context: Context,
  namespace: string | undefined,
  positionals: readonly string[],
): { namespace: string; name: string } {
  expectPositionals(positionals, ['NAME'])
  const [name = ''] = positionals
  return { namespace: namespaceOf(context, namespace), name }
}

export function usageError(message: string): AppError {
  return new AppError(message, { code: 'usage', fault: 'user', hint: 'add --help for what it takes' })
}
