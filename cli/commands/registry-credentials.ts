import { defineCommand, expectPositionals, NAMESPACE_OPTION, usageError } from '../command.ts'
import { duration, table } from '../output.ts'
import { sinceMs } from './logs.ts'

export const list = defineCommand({
  usage: '',
  details: 'The credentials that downloads were made with, newest first. Their secrets are kept nowhere.',
  options: {
    since: { placeholder: '5m|TIME', description: 'nothing older: 30s, 5m, 2h, 1d, or an ISO time' },
    limit: { placeholder: 'N', description: 'at most so many (default 100)' },
    namespace: { ...NAMESPACE_OPTION.namespace, description: 'of this namespace only (default all)' },
  },
  async run(context, values, positionals) {
    expectPositionals(positionals, [])
    const query = {
      ...(values.namespace === undefined ? {} : { namespace: values.namespace }),
      ...(values.since === undefined ? {} : { sinceMs: sinceMs(values.since, Date.now()) }),
      ...(values.limit === undefined ? {} : { limit: count(values.limit) }),
    }
    const answer = await context.api().call('listPullCredentials', { query })
    const rows = answer.credentials.map((one) => [
      one.id,
      one.provider,
      `${one.registry}/${one.repository}`,
      new Date(one.madeAtMs).toISOString(),
      one.endedAtMs === null ? '-' : duration(one.endedAtMs - one.madeAtMs),
      String(one.bearers),
      String(one.starts.length),
      one.endedAtMs === null ? 'in force' : (one.endReason ?? ''),
    ])
    const header = ['ID', 'PROVIDER', 'REPOSITORY', 'MADE', 'LIVED', 'BEARERS', 'STARTS', 'END']
    context.output.result(answer, table(header, rows))
    return 0
  },
})

export const end = defineCommand({
  usage: 'ID',
  details: 'The token server refuses it at once, and its download ends; calls that wait for it fail.',
  options: {},
  async run(context, _values, positionals) {
    expectPositionals(positionals, ['ID'])
    const [id = ''] = positionals
    const answer = await context.api().call('endPullCredential', { params: { id } })
    context.output.result(answer, `ended ${answer.id}`)
    context.output.next('slipway registry credentials list')
    return 0
  },
})

function count(text: string): number {
  if (/^[1-9][0-9]{0,3}$/.test(text)) return Number(text)
  throw usageError(`--limit is a whole number from 1, not "${text}"`)
}
