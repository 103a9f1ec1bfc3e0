import { join } from 'node:path'
import { performance } from 'node:perf_hooks'
import { type BuiltImage, buildImage, type CachedLayer, type Digest, LayerCache, RegistryClient } from '../oci/index.ts'
import { detectCgroups, NetworkNamespaces, TmpVolumes } from '../sandbox/index.ts'
import { applicationLayer } from './application.ts'
import { type BaseImage, openBase } from './base-image.ts'
import { sweepSandboxes } from './build-sandbox-names.ts'
import type { BuilderOptions, BuildRequest, BuildResult } from './builder.ts'
import { type DependencyLayer, dependencyLayer } from './dependencies.ts'
import { type BuildPlan, planBuild } from './plan.ts'
import { BOOTSTRAP, type Prepared, prepare } from './prepare.ts'
import { type StepOutcome, Steps } from './progress.ts'
import { type BaseOutcome, type PublishResult, publishBase, publishImage } from './publish.ts'

const DEFAULT_MAX_CACHE_BYTES = 4 * 1024 ** 3

/** One build: what stays the same through all of its steps. */
interface Build {
  options: BuilderOptions
  request: BuildRequest
  cache: LayerCache
  signal: AbortSignal
}

const BASE_OUTCOMES: Record<BaseOutcome, string> = {
  there: 'there already',
  mounted: 'mounted',
  published: 'published, once for this registry, and mounted',
  sent: 'sent',
}

type Note = (text: string) => void

interface Planned {
  plan: BuildPlan
  base: BaseImage
}

/** The life of a build from source (DESIGN.md): read, plan, dependencies, application, image, push. */
export async function runBuild(
  options: BuilderOptions,
  request: BuildRequest,
  signal: AbortSignal,
): Promise<BuildResult> {
  const startedMs = performance.now()
  const cache = new LayerCache(join(options.cacheDirectory, 'layers'))
  const build: Build = { options, request, cache, signal }
  const steps = new Steps(request.onEvent ?? (() => undefined))
  const prepared = await steps.run('source', (note) => readStep(build, note))
  const planned = await steps.run('plan', (note) => planStep(build, prepared, note))
  const dependencies =
    planned.plan.dependencies === 'none'
      ? undefined
      : await steps.run('dependencies', (note) => dependencyStep(build, prepared, planned, note))
  const application = await steps.run('application', () => applicationStep(build, prepared))
  const layers = [
    ...(dependencies === undefined ? [] : [{ ...dependencies.layer, createdBy: 'dependencies' }]),
    { ...application, createdBy: 'application' },
  ]
  const image = buildImage({ base: planned.base, layers, changes: planned.plan.changes })
  const published = await steps.run('push', () => pushStep(build, prepared, planned.base, image, layers))
  cache.trim(options.maxCacheBytes ?? DEFAULT_MAX_CACHE_BYTES)
  return {
    ...describe(build, prepared, image, dependencies, planned.plan),
    ...published,
    durationMs: Math.round(performance.now() - startedMs),
    steps: steps.times,
  }
}

function readStep({ request, signal }: Build, note: Note): StepOutcome<Prepared> {
  const prepared = prepare(request.source, request.settings ?? {}, signal)
  const { entries, bytes, secrets } = prepared.tree
  if (secrets.length > 0) note(`left out, since such files hold secrets: ${secrets.slice(0, 20).join(', ')}`)
  const files = entries.filter(({ kind }) => kind === 'file').length
  return { value: prepared, detail: `${files} files, ${bytes} bytes` }
}

async function planStep({ options, signal }: Build, { detected }: Prepared, note: Note): Promise<StepOutcome<Planned>> {
  const base = await options.base(detected.runtime, note, signal)
  const plan = planBuild(detected, base.digest, base.config.config?.Entrypoint ?? [])
  return { value: { plan, base }, detail: plan.lines.join('; ') }
}

async function dependencyStep(
  { options, cache, signal }: Build,
  { detected, texts }: Prepared,
  { plan, base }: Planned,
  note: Note,
): Promise<StepOutcome<DependencyLayer>> {
  const { cacheDirectory, contentDirectory, sandboxDirectory, hash, log } = options
  const namespaces = new NetworkNamespaces(log)
  try {
    const volumes = new TmpVolumes(join(cacheDirectory, 'volumes'))
    const machine = { directory: sandboxDirectory, hash, namespaces, volumes, cgroups: detectCgroups() }
    await sweepSandboxes(machine)
    const value = await dependencyLayer(
      {
        base,
        packageJson: texts.packageJson ?? '{}',
        dependencyKey: detected.package?.dependencyKey ?? '',
        lockFile: plan.lockFile,
        lock: texts.lock,
      },
      { machine, cache, cacheDirectory, openBase: (of) => openBase(of, contentDirectory, log, signal), note },
      signal,
    )
    return { value, reused: value.reused, detail: `${value.layer.descriptor.size} bytes` }
  } finally {
    namespaces.close()
  }
}

async function applicationStep({ cache, signal }: Build, { tree }: Prepared): Promise<StepOutcome<CachedLayer>> {
  const { layer, reused } = await applicationLayer(tree, new Set([BOOTSTRAP]), cache, signal)
  return { value: layer, reused, detail: `${tree.entries.length} entries, ${layer.descriptor.size} bytes` }
}

async function pushStep(
  build: Build,
  prepared: Prepared,
  base: BaseImage,
  image: BuiltImage,
  layers: readonly CachedLayer[],
): Promise<StepOutcome<PublishResult>> {
  const { options, request, signal } = build
  const { registry, tag = 'latest' } = request.target
  const repository = repositoryOf(build, prepared)
  const files = new Map<Digest, string>([
    ...base.files,
    ...layers.map(({ descriptor, file }) => [descriptor.digest, file] as const),
  ])
  const access = async (to: string) => ({
    registry,
    credential: await options.credentials.for(registry, to, 'push', signal),
    signal,
  })
  const shared = { ...base, publish: async () => publishBase(base, await access(base.repository)) }
  const client = new RegistryClient(await access(repository))
  try {
    const value = await publishImage({ client, repository, tag, image, files, base: shared })
    const sizes = `${value.pushedBytes} bytes sent, ${value.reusedBytes} there already`
    return { value, detail: `${sizes}; base: ${BASE_OUTCOMES[value.base]}` }
  } finally {
    await client.close()
  }
}

function repositoryOf({ request }: Build, { namespace, name }: Prepared): string {
  return request.target.repository ?? `${namespace}/${name}`
}

function describe(
  build: Build,
  prepared: Prepared,
  image: BuiltImage,
  dependencies: DependencyLayer | undefined,
  plan: BuildPlan,
): Omit<BuildResult, keyof PublishResult | 'durationMs' | 'steps'> {
  const { digest } = image.manifest.descriptor
  const { registry, tag = 'latest' } = build.request.target
  const blobs = [image.manifest.descriptor, image.config.descriptor, ...image.layers]
  const { name, namespace, settings, tree } = prepared
  const lock = dependencies?.resolvedLock
  return {
    image: `${registry}/${repositoryOf(build, prepared)}@${digest}`,
    digest,
    platformDigest: digest,
    tag,
    sizeBytes: blobs.reduce((sum, { size }) => sum + size, 0),
    settings: { ...settings, name, namespace, type: plan.type, runtime: plan.runtime },
    secrets: tree.secrets,
    ...(lock === undefined ? {} : { resolvedLock: { file: plan.lockFile, text: lock } }),
  }
}
