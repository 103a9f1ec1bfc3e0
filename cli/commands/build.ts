import { writeFile } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import type { FunctionYaml } from '../../api/index.ts'
import type { BuildResult, Source } from '../../builder/index.ts'
import { AppError } from '../../common/index.ts'
import {
  type Context,
  defineCommand,
  expectPositionals,
  NAMESPACE_OPTION,
  type Options,
  type Values,
} from '../command.ts'
import { openLocalBuilder, pushAccessTo, tellBuild } from '../local-builder.ts'
import { duration, megabytes } from '../output.ts'
import { checkedType } from './settings-options.ts'

/** Options of `build` and `deploy` that say what is built and how it is named. */
export const BUILD_OPTIONS = {
  name: { placeholder: 'NAME', description: 'of the function (default: function.yaml, else the directory)' },
  tag: { placeholder: 'TAG', description: 'that the image gets (default latest)' },
  to: {
    placeholder: 'HOST/REPO[:TAG]',
    description: 'push there instead, with the login of docker or podman, or as the registry’s entry says',
  },
  runtime: { placeholder: 'R', description: 'for example node26 (default: detected)' },
  handler: { placeholder: 'FILE.FUNCTION', description: 'default index.main_handler' },
  'write-lock': { description: 'keep the lock file that was resolved beside package.json' },
  ...NAMESPACE_OPTION,
} as const satisfies Options

export const build = defineCommand({
  usage: 'PATH',
  details: 'PATH is a directory or a single file. The image is pushed to the platform’s registry, or where --to says.',
  options: { ...BUILD_OPTIONS, type: { placeholder: 'event|web', description: 'what calls it takes' } },
  async run(context, values, positionals) {
    expectPositionals(positionals, ['PATH'])
    const result = await buildAndPush(context, positionals[0] ?? '', values)
    context.output.result(answerOf(result), describeBuild(result))
    const { name, namespace } = result.settings
    context.output.next(`slipway deploy --image ${result.image} --name ${name} --namespace ${namespace}`)
    return 0
  },
})

/** Builds a source and pushes the image to NAMESPACE/NAME. What the options say wins over function.yaml. */
export async function buildAndPush(
  context: Context,
  path: string,
  values: Values<typeof BUILD_OPTIONS> & { type?: string },
): Promise<BuildResult> {
  const { readFunctionFile } = await import('../../builder/index.ts')
  const source = await sourceAt(resolve(context.cwd, path))
  const settings = settingsFrom(values)
  const ofFile = readFunctionFile(source)
  const namespace = values.namespace ?? ofFile.namespace ?? (context.env['SLIPWAY_NAMESPACE'] || 'default')
  const { registry, repository, tag = values.tag, credentials } = await pushAccessTo(context, namespace, values.to)
  const builder = await openLocalBuilder(context, credentials)
  const result = await builder.build(
    {
      source,
      settings: { ...settings, namespace },
      target: {
        registry,
        ...(repository === undefined ? {} : { repository }),
        ...(tag === undefined ? {} : { tag }),
      },
      onEvent: (event) => tellBuild(context.output, event),
    },
    context.signal,
  )
  await keepLock(context, source, result, values['write-lock'] === true)
  return result
}

function settingsFrom(values: Values<typeof BUILD_OPTIONS> & { type?: string }): FunctionYaml {
  const { name, runtime, handler, type } = values
  return {
    ...(name === undefined ? {} : { name }),
    ...(runtime === undefined ? {} : { runtime }),
    ...(handler === undefined ? {} : { handler }),
    ...(type === undefined ? {} : { type: checkedType(type) }),
  }
}

async function sourceAt(path: string): Promise<Source> {
  const { stat } = await import('node:fs/promises')
  const found = await stat(path).catch((cause: unknown) => {
    throw new AppError(`there is no source at ${path}`, { code: 'source-not-found', fault: 'user', cause })
  })
  return { kind: found.isDirectory() ? 'directory' : 'file', path }
}

async function keepLock(context: Context, source: Source, { resolvedLock }: BuildResult, keep: boolean): Promise<void> {
  if (resolvedLock === undefined || source.kind === 'file') return
  if (keep) await writeFile(join(source.path, resolvedLock.file), resolvedLock.text)
  else context.output.progress(`  the source has no lock file: --write-lock keeps the one that was resolved`)
}

/** What `build -o json` prints. */
function answerOf(result: BuildResult) {
  const { image, digest, sizeBytes, pushedBytes, reusedBytes, base, durationMs, steps } = result
  return { image, digest, sizeBytes, pushedBytes, reusedBytes, base, durationMs, steps }
}

function describeBuild(result: BuildResult): string {
  const { image, sizeBytes, pushedBytes, reusedBytes, durationMs } = result
  return `${image}\n${megabytes(sizeBytes)}: ${megabytes(pushedBytes)} pushed, ${megabytes(reusedBytes)} reused, ${duration(durationMs)}`
}
