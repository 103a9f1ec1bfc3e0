import { COMMON_OPTIONS, type Command, type Options } from './command.ts'
import { COMMANDS, type CommandEntry } from './commands.ts'
import { EXIT_CODES } from './exit-codes.ts'
import { table } from './output.ts'

/** What `slipway help` prints, for all commands or those that begin with `words`. */
export function overview(words: readonly string[] = []): string {
  const shown = COMMANDS.filter((entry) => entry.hidden !== true && words.every((word, at) => entry.words[at] === word))
  const rows = shown.map((entry) => [`  ${entry.words.join(' ')}`, entry.summary])
  const codes = Object.values(EXIT_CODES).map(({ code, meaning }) => [`  ${code}`, meaning])
  return [
    'slipway: container-image functions from source to logs',
    '',
    table(['Commands', ''], rows),
    '',
    'Each takes -o json (results on stdout, progress on stderr) and --help.',
    'The platform is found by itself on this machine, or by SLIPWAY_SERVER and SLIPWAY_TOKEN.',
    '',
    table(['Exit codes', ''], codes),
  ].join('\n')
}

export function commandHelp(entry: CommandEntry, command: Command): string {
  const name = `slipway ${entry.words.join(' ')}`
  const usage = `${name} ${command.usage}`.trimEnd()
  const details = command.details === undefined ? [] : ['', command.details]
  return [`${name}: ${entry.summary}`, '', `  ${usage} [OPTIONS]`, ...details, '', optionTable(command.options)].join(
    '\n',
  )
}

function optionTable(options: Options): string {
  const rows = Object.entries({ ...options, ...COMMON_OPTIONS } as Options).map(([name, option]) => {
    const short = option.short === undefined ? '    ' : `-${option.short}, `
    const value = option.placeholder === undefined ? '' : ` ${option.placeholder}`
    return [`  ${short}--${name}${value}`, `${option.description}${option.many === true ? ' (may be repeated)' : ''}`]
  })
  return table(['Options', ''], rows)
}
