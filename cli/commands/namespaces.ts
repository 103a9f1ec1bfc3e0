import { defineCommand, expectPositionals, usageError } from '../command.ts'
import { duration, table } from '../output.ts'

export const list = defineCommand({
  usage: '',
  options: {},
  async run(context, _values, positionals) {
    expectPositionals(positionals, [])
    const answer = await context.api().call('listNamespaces', {})
    const rows = answer.namespaces.map((one) => [
      one.name,
      `${one.maxEnvBytes} bytes`,
      `${one.maxMemoryMb} MB`,
      one.pull.join(' ') || '-',
      duration(Date.now() - one.createdAtMs),
    ])
    context.output.result(answer, table(['NAME', 'ENVIRONMENT', 'MEMORY', 'PULL', 'AGE'], rows))
    return 0
  },
})

export const create = defineCommand({
  usage: 'NAME',
  details: 'A namespace that exists keeps what is not named.',
  options: {
    'max-env': { placeholder: 'BYTES', description: 'environment of a function, in all (default 4096)' },
    'max-memory': { placeholder: 'MB', description: 'memory of a function (default 122880)' },
    'max-body': {
      placeholder: 'BYTES',
      description: 'body of a web call, what its limits may be (default 1073741824)',
    },
    'starts-per-minute': { placeholder: 'N', description: 'instances started in a minute (default 500)' },
    pull: {
      placeholder: '[HOST/]REPOSITORY',
      many: true,
      description:
        'whose images it may run beside its own: replaces the list (default */*, every other registry; "none" for none)',
    },
  },
  async run(context, values, positionals) {
    expectPositionals(positionals, ['NAME'])
    const [namespace = ''] = positionals
    const body = {
      ...(values['max-env'] === undefined ? {} : { maxEnvBytes: count('max-env', values['max-env']) }),
      ...(values['max-memory'] === undefined ? {} : { maxMemoryMb: count('max-memory', values['max-memory']) }),
      ...(values['max-body'] === undefined ? {} : { maxBodyBytes: count('max-body', values['max-body']) }),
      ...(values['starts-per-minute'] === undefined
        ? {}
        : { startsPerMinute: count('starts-per-minute', values['starts-per-minute']) }),
      ...(values.pull === undefined ? {} : { pull: values.pull.filter((pattern) => pattern !== 'none') }),
    }
    const answer = await context.api().call('putNamespace', { params: { namespace }, body })
    context.output.result(answer, `namespace ${answer.name}`)
    context.output.next(`slipway deploy PATH --namespace ${answer.name}`)
    return 0
  },
})

export const remove = defineCommand({
  usage: 'NAME',
  options: {},
  async run(context, _values, positionals) {
    expectPositionals(positionals, ['NAME'])
    const [namespace = ''] = positionals
    const answer = await context.api().call('deleteNamespace', { params: { namespace } })
    context.output.result(answer, `deleted namespace ${answer.name}`)
    context.output.next('slipway namespace list')
    return 0
  },
})

function count(option: string, text: string): number {
  if (/^[0-9]{1,13}$/.test(text)) return Number(text)
  throw usageError(`--${option} is a whole number, not "${text}"`)
}
