import { defineCommand, expectPositionals } from '../command.ts'
import { duration } from '../output.ts'

export const cancel = defineCommand({
  usage: 'REQUEST-ID',
  details: 'Ends a job that waits or runs, and answers when it has ended.',
  options: {
    graceful: { description: 'ask it by SIGTERM and give it ten seconds; otherwise it is killed' },
  },
  async run(context, values, positionals) {
    expectPositionals(positionals, ['REQUEST-ID'])
    const [requestId = ''] = positionals
    const query = values.graceful === true ? { graceful: true } : {}
    const record = await context.api().call('cancelInvocation', { params: { requestId }, query })
    const exit = record.exitCode === undefined ? '' : `, exit code ${record.exitCode}`
    context.output.result(record, `${record.statusCode} after ${duration(record.durationMs)}${exit}`)
    context.output.next(`slipway logs ${record.function} --request-id ${requestId}`)
    return 0
  },
})
