import { mkdtemp, rm, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { basename, join, resolve } from 'node:path'
import { AppError, run } from '../../common/index.ts'
import { RegistryClient } from '../../oci/index.ts'
import { type Context, defineCommand, expectPositionals, NAMESPACE_OPTION, namespaceOf } from '../command.ts'
import { pushAccessTo } from '../local-builder.ts'
import { duration, megabytes } from '../output.ts'
import { type PushedLayout, pushLayout } from '../push-layout.ts'

const UNPACK_MS = 10 * 60_000

export const push = defineCommand({
  usage: 'PATH',
  details:
    'PATH is an OCI image layout, as a directory or a tar archive (docker save, skopeo copy … oci-archive:FILE).',
  options: {
    name: { placeholder: 'NAME', description: 'of the repository below NAMESPACE/ (default: the file’s name)' },
    tag: { placeholder: 'TAG', description: 'default latest' },
    to: { placeholder: 'HOST/REPO[:TAG]', description: 'push there instead, with the login of docker or podman' },
    ref: { placeholder: 'NAME', description: 'which image, where the layout has several' },
    ...NAMESPACE_OPTION,
  },
  async run(context, values, positionals) {
    expectPositionals(positionals, ['PATH'])
    const path = resolve(context.cwd, positionals[0] ?? '')
    const startedMs = Date.now()
    const namespace = namespaceOf(context, values.namespace)
    const access = await pushAccessTo(context, namespace, values.to)
    const named = `${namespace}/${values.name ?? basename(path).replace(/\..*$/, '').toLowerCase()}`
    const { registry, repository = named, tag = values.tag ?? 'latest', credentials } = access
    const credential = await credentials.for(registry, repository, 'push', context.signal)
    const client = new RegistryClient({ registry, credential, signal: context.signal })
    try {
      const choice = values.ref === undefined ? {} : { ref: values.ref }
      const pushed = await withLayout(path, context, (layout) =>
        pushLayout(client, layout, { repository, tag, ...choice }),
      )
      const answer = {
        image: `${registry}/${repository}@${pushed.digest}`,
        ...pushed,
        durationMs: Date.now() - startedMs,
      }
      context.output.result(answer, describe(answer))
      context.output.next(`slipway deploy --image ${registry}/${repository}:${tag} --namespace ${namespace}`)
      return 0
    } finally {
      await client.close()
    }
  },
})

/** Runs `work` on the layout at `path`; an archive is unpacked to a directory that is gone afterwards. */
async function withLayout<T>(path: string, { signal }: Context, work: (layout: string) => Promise<T>): Promise<T> {
  const found = await stat(path).catch((cause: unknown) => {
    throw new AppError(`there is nothing at ${path}`, { code: 'source-not-found', fault: 'user', cause })
  })
  if (found.isDirectory()) return work(path)
  const directory = await mkdtemp(join(tmpdir(), 'slipway-push-'))
  try {
    const options = ['--no-same-owner', '--no-same-permissions', '--directory', directory]
    await run('tar', ['--extract', '--file', path, ...options], { timeoutMs: UNPACK_MS, signal })
    return await work(directory)
  } finally {
    await rm(directory, { recursive: true })
  }
}

function describe(answer: PushedLayout & { image: string; durationMs: number }): string {
  const { image, sizeBytes, pushedBytes, reusedBytes, durationMs } = answer
  return `${image}\n${megabytes(sizeBytes)}: ${megabytes(pushedBytes)} pushed, ${megabytes(reusedBytes)} reused, ${duration(durationMs)}`
}
