import { describe, expect, test } from 'vitest'
import { expectPositionals, readArguments } from '../../../cli/command.ts'
import { sinceMs } from '../../../cli/commands/logs.ts'
import { readSettings } from '../../../cli/commands/settings-options.ts'
import { COMMANDS, findCommand } from '../../../cli/commands.ts'
import { EXIT_CODES, exitCodeOf } from '../../../cli/exit-codes.ts'
import { commandHelp, overview } from '../../../cli/help.ts'
import { duration, Output, table } from '../../../cli/output.ts'
import { AppError } from '../../../common/index.ts'

const OPTIONS = {
  name: { placeholder: 'N', description: '' },
  env: { placeholder: 'K=V', short: 'e', many: true, description: '' },
  follow: { short: 'f', description: '' },
} as const

describe('a command line', () => {
  test('is read into options and positionals, in any order', () => {
    expect(readArguments(OPTIONS, ['a', '-e', 'A=1', '--name=x', '-f', '-e', 'B=2', 'b'])).toEqual({
      values: { env: ['A=1', 'B=2'], name: 'x', follow: true },
      positionals: ['a', 'b'],
    })
  })

  test.each([[['--nope']], [['--name']], [['--follow=x']], [['--name', '-x']]])('is refused as usage: %j', (args) => {
    expect(() => readArguments(OPTIONS, args)).toThrow(expect.objectContaining({ code: 'usage' }))
  })

  test('has as many positionals as the command takes', () => {
    expect(() => expectPositionals([], ['NAME'])).toThrow('NAME is missing')
    expect(() => expectPositionals(['a', 'b'], ['NAME'])).toThrow('"b" is one argument too many')
    expect(() => expectPositionals(['a'], ['NAME', 'ID'], 1)).not.toThrow()
  })

  test.each([
    [['list'], 'list', []],
    [['instances', 'stop', 'hello', '-o', 'json'], 'instances stop', ['hello', '-o', 'json']],
    [['registry', 'user', 'add', 'x'], 'registry user add', ['x']],
  ])('finds its command: %j', (args, words, rest) => {
    const found = findCommand(args)
    expect(found?.entry.words.join(' ')).toBe(words)
    expect(found?.rest).toEqual(rest)
  })

  test('finds no command for half of its words', () => {
    expect(findCommand(['instances'])).toBeUndefined()
    expect(findCommand([])).toBeUndefined()
  })
})

describe('help', () => {
  test('lists every command that is not hidden, and every exit code', () => {
    const text = overview()
    for (const { words, hidden } of COMMANDS) expect(text.includes(`\n  ${words.join(' ')} `)).toBe(hidden !== true)
    for (const { meaning } of Object.values(EXIT_CODES)) expect(text).toContain(meaning)
  })

  test.each(COMMANDS.map((entry) => [entry.words.join(' '), entry] as const))(
    'of %s names its options',
    async (words, entry) => {
      const text = commandHelp(entry, await entry.load())
      expect(text).toContain(`slipway ${words}`)
      expect(text).toContain('--output text|json')
    },
  )
})

describe('options of deploy', () => {
  test('become settings with the names of function.yaml', () => {
    expect(
      readSettings({
        type: 'web',
        args: '-u app.py',
        env: ['A=1', 'B=x=y', 'C='],
        'init-timeout': '5',
        'max-instances': '2',
      }),
    ).toEqual({ type: 'web', args: '-u app.py', env: { A: '1', B: 'x=y', C: '' }, initTimeout: 5, maxInstances: 2 })
    expect(readSettings({})).toEqual({})
  })

  test.each([[{ type: 'cron' }], [{ memory: '1.5' }], [{ timeout: '-1' }], [{ env: ['A'] }], [{ env: ['=1'] }]])(
    'are refused as usage: %j',
    (values) => {
      expect(() => readSettings(values)).toThrow(expect.objectContaining({ code: 'usage' }))
    },
  )
})

test.each([
  ['30s', 970_000],
  ['5m', 700_000],
  ['1h', 0],
  ['1970-01-01T00:10:00Z', 600_000],
])('--since %s is the instant %i', (text, instant) => {
  expect(sinceMs(text, 1_000_000)).toBe(instant)
})

test.each(['', 'yesterday', '5', 'm', '5 m'])('--since "%s" is refused', (text) => {
  expect(() => sinceMs(text, 0)).toThrow(expect.objectContaining({ code: 'usage' }))
})

describe('output', () => {
  function capture(format: 'text' | 'json') {
    const said = { stdout: '', stderr: '' }
    const sink = (stream: keyof typeof said) => ({ write: (text: string) => void (said[stream] += text) })
    return { output: new Output(format, sink('stdout'), sink('stderr')), said }
  }
  const error = new AppError('it failed', { code: 'function-not-found', hint: 'do this', details: { requestId: 'r' } })

  test('for people: the text on stdout, the next step and errors on stderr', () => {
    const { output, said } = capture('text')
    output.result({ a: 1 }, 'one')
    output.next('go on')
    output.error(error)
    expect(said).toEqual({
      stdout: 'one\n',
      stderr: 'next: go on\nslipway: it failed [function-not-found]\n  do this\n  request r\n',
    })
  })

  test('for scripts: one line of JSON on stdout, errors as JSON on stderr', () => {
    const { output, said } = capture('json')
    output.result({ a: 1 }, 'one')
    output.next('go on')
    output.error(error)
    expect(said.stdout).toBe('{"a":1}\n')
    expect(JSON.parse(said.stderr)).toEqual({
      error: { code: 'function-not-found', message: 'it failed', hint: 'do this', details: { requestId: 'r' } },
    })
  })

  test('aligns columns', () => {
    expect(
      table(
        ['A', 'B'],
        [
          ['long', 'x'],
          ['y', ''],
        ],
      ),
    ).toBe('A     B\nlong  x\ny')
  })

  test.each([
    [0.4, '0 ms'],
    [999, '999 ms'],
    [1_500, '1.5 s'],
    [120_000, '2 min'],
    [7_200_000, '2 h'],
    [172_800_000, '2 d'],
  ])('says %d ms as %s', (ms, text) => {
    expect(duration(ms)).toBe(text)
  })

  test.each([
    ['function-not-found', 5],
    ['unauthorized', 4],
    ['usage', 2],
    ['server-unreachable', 7],
    ['no-such-code', 1],
  ])('ends for %s with %i', (code, exit) => {
    expect(exitCodeOf(new AppError('x', { code }))).toBe(exit)
    expect(exitCodeOf(new Error('x'))).toBe(1)
  })
})
