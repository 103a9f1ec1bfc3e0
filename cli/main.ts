import { readFileSync } from 'node:fs'
import { ApiClient } from './api-client.ts'
import { COMMON_OPTIONS, type Context, readArguments, usageError } from './command.ts'
import { COMMANDS, findCommand } from './commands.ts'
import { findConnection } from './connection.ts'
import { EXIT_CODES, exitCodeOf } from './exit-codes.ts'
import { commandHelp, overview } from './help.ts'
import { Output } from './output.ts'

/** Wiring of the `slipway` command: which command, with which options, to which streams. */
async function main(args: readonly string[]): Promise<number> {
  const interrupted = new AbortController()
  // The first Ctrl-C asks the command to end; the default action of a second one ends it.
  process.once('SIGINT', () => interrupted.abort(new Error('interrupted')))
  endWithReader(process.stdout)
  const output = new Output(asksForJson(args) ? 'json' : 'text', process.stdout, process.stderr)
  try {
    return await dispatch(args, output, interrupted.signal)
  } catch (thrown) {
    if (interrupted.signal.aborted) return EXIT_CODES.interrupted.code
    output.error(thrown)
    return exitCodeOf(thrown)
  }
}

async function dispatch(args: readonly string[], output: Output, signal: AbortSignal): Promise<number> {
  const [first = 'help', ...others] = args
  if (first === 'help' || first === '--help' || first === '-h') return help(others, output)
  if (first === 'version' || first === '--version') return version(output)
  const found = findCommand(args)
  if (found === undefined) return unknownCommand(args, output)
  const { entry, rest } = found
  const command = await entry.load()
  const { values, positionals } = readArguments({ ...command.options, ...COMMON_OPTIONS }, rest)
  if (values['help'] === true) {
    output.result({ help: commandHelp(entry, command) }, commandHelp(entry, command))
    return EXIT_CODES.ok.code
  }
  const format: unknown = values['output'] ?? 'text'
  if (format !== 'text' && format !== 'json') throw usageError(`--output is text or json, not "${String(format)}"`)
  let api: ApiClient | undefined
  const context: Context = {
    output,
    env: process.env,
    cwd: process.cwd(),
    get stdin() {
      return process.stdin
    },
    signal,
    api: () => {
      api ??= new ApiClient(findConnection(process.env), signal)
      return api
    },
  }
  return command.run(context, values, positionals)
}

async function help(words: readonly string[], output: Output): Promise<number> {
  const found = words.length === 0 ? undefined : findCommand(words)
  const text = found === undefined ? overview(words) : commandHelp(found.entry, await found.entry.load())
  output.result({ help: text }, text)
  return EXIT_CODES.ok.code
}

function version(output: Output): number {
  const manifest = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8')) as { version: string }
  output.result({ version: manifest.version }, manifest.version)
  return EXIT_CODES.ok.code
}

function unknownCommand(args: readonly string[], output: Output): number {
  const [first = ''] = args
  if (COMMANDS.some(({ words }) => words[0] === first)) {
    output.progress(overview([first]))
    throw usageError(`"slipway ${args.slice(0, 3).join(' ')}" lacks a known verb`)
  }
  const near = COMMANDS.filter(({ words }) => words[0]?.startsWith(first.slice(0, 2))).map(({ words }) =>
    words.join(' '),
  )
  const perhaps = near.length === 0 ? '' : `; perhaps ${near.slice(0, 3).join(', ')}`
  throw usageError(`there is no command "${first.slice(0, 60)}"${perhaps}`)
}

/** Looked for before the options are read, so that a wrong command line is told in the form that was asked for. */
function asksForJson(args: readonly string[]): boolean {
  return args.some(
    (arg, at) =>
      arg === '-ojson' || arg === '--output=json' || (/^(?:-o|--output)$/.test(arg) && args[at + 1] === 'json'),
  )
}

/** `slipway logs | head` ends when head does. */
function endWithReader(stream: NodeJS.WriteStream): void {
  stream.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code === 'EPIPE') process.exit(EXIT_CODES.ok.code)
    throw error
  })
}

process.exitCode = await main(process.argv.slice(2))
