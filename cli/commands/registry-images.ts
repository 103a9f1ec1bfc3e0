import { type RegistryCollected, RegistryCollectionStep, RegistryImage, violationsOf } from '../../api/index.ts'
import { AppError } from '../../common/index.ts'
import { type Context, defineCommand, expectPositionals, usageError } from '../command.ts'
import { duration, megabytes, table } from '../output.ts'

const UNITS_MS: Record<string, number> = { s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 }
const SHORT_DIGEST = 19

export const list = defineCommand({
  usage: '[REPOSITORY | PREFIX/]',
  options: {},
  async run(context, _values, positionals) {
    expectPositionals(positionals, ['REPOSITORY'], 0)
    const [repository] = positionals
    const query = repository === undefined ? {} : { repository }
    const images: RegistryImage[] = []
    for await (const line of context.api().lines('listRegistryImages', { query })) {
      images.push(checked<RegistryImage>(RegistryImage, line))
    }
    const rows = images.map(({ repository: name, tags, digest, sizeBytes, pushedAtMs, usedBy }) => [
      name,
      tags.join(' ') || '-',
      digest.slice(0, SHORT_DIGEST),
      megabytes(sizeBytes),
      duration(Date.now() - pushedAtMs),
      usedBy.map((user) => `${user.namespace}/${user.function}`).join(' ') || '-',
    ])
    context.output.result({ images }, table(['REPOSITORY', 'TAGS', 'DIGEST', 'SIZE', 'AGE', 'USED BY'], rows))
    return 0
  },
})

export const collect = defineCommand({
  usage: '[--untagged AGE]',
  details:
    'Images that no tag names and no function uses are removed, then every blob that no image refers to. Pulls go on;\npushes are asked to come again for about a minute.',
  options: {
    untagged: { placeholder: '24h', description: 'images without a tag go when older than this (default 24h)' },
  },
  async run(context, { untagged }, positionals) {
    expectPositionals(positionals, [])
    const body = untagged === undefined ? {} : { untaggedMs: ageMs(untagged) }
    const collected = await follow(context, body)
    const { removedImages, keptImages, freedBytes, pausedMs } = collected
    const text = `${removedImages} images removed, ${keptImages} kept, ${megabytes(freedBytes)} freed, pushes waited ${duration(pausedMs)}`
    context.output.result(collected, text)
    context.output.next('slipway registry list')
    return 0
  },
})

/** Shows each step; answers the result of the last one. */
async function follow(context: Context, body: { untaggedMs?: number }): Promise<RegistryCollected> {
  try {
    for await (const line of context.api().lines('collectRegistry', { body })) {
      const { step, detail, result, code } = checked<RegistryCollectionStep>(RegistryCollectionStep, line)
      if (step === 'failed')
        throw new AppError(`the registry was not collected: ${detail}`, { code: code ?? 'internal' })
      if (result !== undefined) return result
      context.output.progress(`${step}: ${detail}`)
    }
  } catch (thrown) {
    if (thrown instanceof AppError || context.signal.aborted) throw thrown
  }
  throw new AppError('the server ended before the collection did', {
    code: 'server-unreachable',
    fault: 'dependency',
    hint: 'nothing is lost: the registry takes pushes again when the server is back; collect it again then',
  })
}

function ageMs(text: string): number {
  const [, count = '', unit = ''] = /^([0-9]{1,6})([smhd])$/.exec(text) ?? []
  if (count === '') throw usageError(`--untagged is 30m, 24h, 7d or 0s, not "${text}"`)
  return Number(count) * (UNITS_MS[unit] ?? 0)
}

function checked<T>(schema: Parameters<typeof violationsOf>[0], line: unknown): T {
  if (violationsOf(schema, line).length === 0) return line as T
  throw new AppError('the server sent a line that cannot be read', { code: 'answer-invalid', fault: 'dependency' })
}
