import { defineCommand, expectPositionals, functionNamed, NAMESPACE_OPTION, namespaceOf } from '../command.ts'
import { duration, megabytes, table } from '../output.ts'
import { readyText } from './functions.ts'

export const list = defineCommand({
  usage: 'NAME',
  options: NAMESPACE_OPTION,
  async run(context, values, positionals) {
    const { namespace, name } = functionNamed(context, values.namespace, positionals)
    const answer = await context.api().call('listInstances', { params: { namespace, name } })
    const rows = answer.instances.map((instance) => [
      instance.id,
      instance.state,
      duration(instance.ageMs),
      megabytes(instance.memoryBytes),
      String(instance.calls),
      instance.reason,
    ])
    context.output.result(answer, table(['ID', 'STATE', 'AGE', 'MEMORY', 'CALLS', 'WHY'], rows))
    if (answer.provisioned !== undefined) context.output.progress(readyText(answer.provisioned))
    if (rows.length > 0) context.output.next(`end one: slipway instances stop ${name} ID`)
    return 0
  },
})

export const stop = defineCommand({
  usage: 'NAME [ID]',
  details:
    'Without an ID all instances of the function end. Calls that they serve fail; the next call starts a new one.',
  options: NAMESPACE_OPTION,
  async run(context, values, positionals) {
    expectPositionals(positionals, ['NAME', 'ID'], 1)
    const [name = '', id] = positionals
    const namespace = namespaceOf(context, values.namespace)
    const api = context.api()
    const answer =
      id === undefined
        ? await api.call('stopInstances', { params: { namespace, name } })
        : await api.call('stopInstance', { params: { namespace, name, id } })
    context.output.result(answer, `stopped ${answer.stopped}`)
    context.output.next(`slipway instances list ${name}`)
    return 0
  },
})
