import { type FunctionView, Settings, type SettingsPatch } from '../../api/index.ts'
import type { BuildResult } from '../../builder/index.ts'
import { type Context, defineCommand, expectPositionals, namespaceOf, usageError } from '../command.ts'
import { BUILD_OPTIONS, buildAndPush } from './build.ts'
import { describe, nextCall } from './functions.ts'
import { readSettings, SETTINGS_OPTIONS } from './settings-options.ts'

const OPTIONS = {
  image: { placeholder: 'REF', description: 'deploy this image: [HOST/]NAME[:TAG][@DIGEST]' },
  'from-file': { placeholder: 'FILE', description: 'build a function of this one file' },
  ...BUILD_OPTIONS,
  ...SETTINGS_OPTIONS,
} as const

export const deploy = defineCommand({
  usage: 'PATH | --image REF | --from-file FILE',
  details:
    'Pins the image by digest and checks platform, size, settings and the right to pull; nothing is run.\n' +
    'A source brings its settings along: what neither function.yaml nor an option says becomes its default.\n' +
    'With --image, a function that exists keeps the settings that are not named.',
  options: OPTIONS,
  async run(context, values, positionals) {
    expectPositionals(positionals, ['PATH'], 0)
    const sources = [positionals[0], values['from-file']].filter((source) => source !== undefined)
    if (sources.length + (values.image === undefined ? 0 : 1) !== 1) {
      throw usageError('exactly one of PATH, --image and --from-file is needed')
    }
    const settings = readSettings(values)
    const namespace = namespaceOf(context, values.namespace)
    const [source] = sources
    const view =
      source === undefined
        ? await deployImage(context, namespace, values.name, values.image ?? '', settings)
        : await deployBuilt(context, await buildAndPush(context, source, values), settings)
    context.output.result(view, describe(view))
    context.output.next(nextCall(view))
    return 0
  },
})

function deployImage(
  context: Context,
  namespace: string,
  given: string | undefined,
  image: string,
  settings: SettingsPatch,
): Promise<FunctionView> {
  const name = given ?? nameOfImage(image)
  return context.api().call('deploy', { params: { namespace, name }, body: { image, settings, keep: true } })
}

function deployBuilt(context: Context, built: BuildResult, settings: SettingsPatch): Promise<FunctionView> {
  const { name, namespace } = built.settings
  const [repository = ''] = built.image.split('@', 1)
  const image = `${repository}:${built.tag}@${built.digest}`
  const body = { image, settings: mergeSettings(runSettings(built.settings), settings) }
  return context.api().call('deploy', { params: { namespace, name }, body })
}

/** Of function.yaml, what decides how instances run; command and args are in the image already. */
function runSettings(all: BuildResult['settings']): SettingsPatch {
  const known = Object.keys(Settings.properties).filter((key) => key !== 'command' && key !== 'args')
  return Object.fromEntries(Object.entries(all).filter(([key]) => known.includes(key)))
}

function mergeSettings(base: SettingsPatch, over: SettingsPatch): SettingsPatch {
  const merged = { ...base, ...over }
  for (const key of ['env', 'limits', 'websocket'] as const)
    if (base[key] != null && over[key] != null) Object.assign(merged, { [key]: { ...base[key], ...over[key] } })
  return merged
}

/** `default/hello:v1@sha256:…` names the function `hello`. */
function nameOfImage(image: string): string {
  const path = image.split('@', 1)[0] ?? ''
  return (path.split('/').at(-1) ?? '').split(':', 1)[0] ?? ''
}
