import { LogLine, violationsOf } from '../../api/index.ts'
import { AppError } from '../../common/index.ts'
import { defineCommand, expectPositionals, NAMESPACE_OPTION, namespaceOf, usageError } from '../command.ts'

const UNITS_MS: Record<string, number> = { s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 }

export const logs = defineCommand({
  usage: 'NAME',
  options: {
    follow: { short: 'f', description: 'go on with what is printed from now on, until Ctrl-C' },
    'request-id': { placeholder: 'ID', description: 'lines of one call only' },
    since: { placeholder: '5m|TIME', description: 'nothing older: 30s, 5m, 2h, 1d, or an ISO time' },
    ...NAMESPACE_OPTION,
  },
  async run(context, values, positionals) {
    expectPositionals(positionals, ['NAME'])
    const [name = ''] = positionals
    const params = { namespace: namespaceOf(context, values.namespace), name }
    const query = {
      ...(values.follow === true ? { follow: true } : {}),
      ...(values.since === undefined ? {} : { sinceMs: sinceMs(values.since, Date.now()) }),
      ...(values['request-id'] === undefined ? {} : { requestId: values['request-id'] }),
    }
    try {
      for await (const line of context.api().lines('logs', { params, query })) print(line)
    } catch (thrown) {
      // Ctrl-C is how following ends, not a failure of it.
      if (!(values.follow === true && context.signal.aborted)) throw thrown
    }
    return 0

    function print(value: unknown): void {
      if (violationsOf(LogLine, value).length > 0) {
        throw new AppError('the server sent a line that is no log line', {
          code: 'answer-invalid',
          fault: 'dependency',
        })
      }
      const { time, stream, line } = value as LogLine
      context.output.line(value, `${time} ${stream === 'stdout' ? '' : `[${stream}] `}${line}`)
    }
  },
})

/** The instant that `--since` means, in ms. Throws `usage`. */
export function sinceMs(text: string, nowMs: number): number {
  const [, count = '', unit = ''] = /^([0-9]{1,6})([smhd])$/.exec(text) ?? []
  if (count !== '') return Math.max(0, nowMs - Number(count) * (UNITS_MS[unit] ?? 0))
  const instant = /^\d{4}-\d{2}-\d{2}(?:T|$)/.test(text) ? Date.parse(text) : Number.NaN
  if (Number.isNaN(instant)) throw usageError(`--since is 30s, 5m, 2h, 1d or an ISO time, not "${text}"`)
  return instant
}
