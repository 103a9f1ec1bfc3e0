import type { FunctionView } from '../../api/index.ts'
import { defineCommand, expectPositionals, functionNamed, NAMESPACE_OPTION, namespaceOf } from '../command.ts'
import { duration, table } from '../output.ts'

export const list = defineCommand({
  usage: '',
  options: NAMESPACE_OPTION,
  async run(context, values, positionals) {
    expectPositionals(positionals, [])
    const namespace = namespaceOf(context, values.namespace)
    const answer = await context.api().call('listFunctions', { params: { namespace } })
    const rows = answer.functions.map((view) => [
      view.name,
      view.settings.type,
      String(view.revision),
      `${view.image.repository}@${shortDigest(view.image.digest)}`,
      duration(Date.now() - view.createdAtMs),
      view.url,
    ])
    context.output.result(answer, table(['NAME', 'TYPE', 'REVISION', 'IMAGE', 'AGE', 'URL'], rows))
    if (rows.length === 0) context.output.next(`slipway deploy PATH --namespace ${namespace}`)
    return 0
  },
})

export const get = defineCommand({
  usage: 'NAME',
  options: NAMESPACE_OPTION,
  async run(context, values, positionals) {
    const { namespace, name } = functionNamed(context, values.namespace, positionals)
    const view = await context.api().call('getFunction', { params: { namespace, name } })
    context.output.result(view, describe(view))
    context.output.next(nextCall(view))
    return 0
  },
})

export const remove = defineCommand({
  usage: 'NAME',
  options: NAMESPACE_OPTION,
  async run(context, values, positionals) {
    const { namespace, name } = functionNamed(context, values.namespace, positionals)
    const view = await context.api().call('deleteFunction', { params: { namespace, name } })
    context.output.result(view, `deleted ${namespace}/${name}`)
    context.output.next(`the image stays in the registry: slipway deploy --image ${view.imageReference}`)
    return 0
  },
})

/** A function for people: what it is, where its image is pinned, where it is called, and its settings. */
export function describe(view: FunctionView): string {
  const { env, ...settings } = view.settings
  const rows = [
    ['function', `${view.namespace}/${view.name}`],
    ['revision', `${view.revision}, ${duration(Date.now() - view.createdAtMs)} old`],
    ['image', view.imageReference],
    ['url', view.url],
    ...(view.pathUrl === undefined ? [] : [['', view.pathUrl]]),
    ...(view.provisioned === undefined ? [] : [['ready', readyText(view.provisioned)]]),
    ...Object.entries(settings).map(([key, value]) => [
      key,
      typeof value === 'object' ? JSON.stringify(value) : String(value),
    ]),
    ...Object.entries(env).map(([key, value], index) => [index === 0 ? 'env' : '', `${key}=${value}`]),
  ]
  return table(['', ''], rows).trimStart()
}

/** `2 of 3 provisioned instances listen: why not more`. */
export function readyText({ wanted, ready, problem }: NonNullable<FunctionView['provisioned']>): string {
  return `${ready} of ${wanted} provisioned instances listen${problem === undefined ? '' : `: ${problem}`}`
}

/** The command with which this function is called. */
export function nextCall(view: FunctionView): string {
  const place = view.namespace === 'default' ? '' : ` --namespace ${view.namespace}`
  if (view.settings.type === 'web') return `curl ${view.url}`
  return `slipway invoke ${view.name}${place} -d '{"key":"value"}'`
}

function shortDigest(digest: string): string {
  return digest.slice(0, 'sha256:'.length + 12)
}
