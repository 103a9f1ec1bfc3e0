import { defineCommand, expectPositionals } from '../command.ts'

export const status = defineCommand({
  usage: '',
  options: {},
  async run(context, _values, positionals) {
    expectPositionals(positionals, [])
    const api = context.api()
    const answer = await api.call('status', {})
    const processes = answer.processes.map(({ role, pid }) => `  ${role} ${pid}`)
    const instances = Object.entries(answer.instances).map(([state, count]) => `  ${state} ${count}`)
    const text = [
      `slipway ${answer.version} at ${api.url}: ${answer.ready ? 'ready' : 'not ready'}, engine ${answer.engine}`,
      'processes',
      ...processes,
      'instances',
      ...(instances.length === 0 ? ['  none'] : instances),
    ]
    context.output.result(answer, text.join('\n'))
    context.output.next('slipway list')
    return 0
  },
})
