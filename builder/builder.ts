import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { performance } from 'node:perf_hooks'
import type { FunctionYaml } from '../api/index.ts'
import { AppError, errnoOf, type Logger } from '../common/index.ts'
import { buildImage, type Digest, LayerCache, type NewLayer, RegistryClient } from '../oci/index.ts'
import type { CredentialSource } from '../registry-auth/index.ts'
import { detectCgroups, NetworkNamespaces, TmpVolumes } from '../sandbox/index.ts'
import { applicationLayer } from './application.ts'
import { type BaseImage, unpackBase } from './base-image.ts'
import type { SandboxMachine } from './build-sandbox.ts'
import { sweepSandboxes } from './build-sandbox-names.ts'
import { type DependencyLayer, type DependencyTools, dependencyLayer } from './dependencies.ts'
import { type Detected, detect, type SourceFacts } from './detect.ts'
import { defaultName, readFunctionFile } from './function-file.ts'
import { type BuildPlan, planBuild } from './plan.ts'
import { type BuildEvent, Steps, type StepTime } from './progress.ts'
import { publishImage } from './publish.ts'
import { DEFAULT_SOURCE_LIMITS, type Source, type SourceFile, type SourceTree, scanSource } from './source.ts'
import { readSourceText } from './source-file.ts'

export interface BuildRequest {
  source: Source
  /** What the caller says; it wins over `function.yaml`. */
  settings?: FunctionYaml
  target: {
    /** `127.0.0.1:5000` */
    registry: string
    /** Default: NAMESPACE/NAME. */
    repository?: string
    /** Default `latest`. */
    tag?: string
  }
  onEvent?: (event: BuildEvent) => void
}

export interface BuildResult {
  /** REGISTRY/REPOSITORY@DIGEST */
  image: string
  /** Of what the tag points to. */
  digest: Digest
  /** Of the manifest for this machine's platform: the same, unless the tag points to an index. */
  platformDigest: Digest
  tag: string
  sizeBytes: number
  pushedBytes: number
  reusedBytes: number
  durationMs: number
  steps: StepTime[]
  /** `function.yaml` and the request together, with name, namespace, type and runtime as they were decided. */
  settings: FunctionYaml & { name: string; namespace: string; type: 'event' | 'web'; runtime: string }
  /** Files left out because such files hold secrets. */
  secrets: string[]
  /** The lock file that was resolved because the source has none; keep it beside package.json. */
  resolvedLock?: { file: string; text: string }
}

/** Turns source into a digest-pinned image in a registry. */
export interface Builder {
  build(request: BuildRequest, signal: AbortSignal): Promise<BuildResult>
}

export interface BuilderOptions {
  /** Layers, tools and unpacked bases are kept here. */
  cacheDirectory: string
  /** Sandboxes of dependency steps live here while they run. */
  sandboxDirectory: string
  /** Hash of the data directory (DataPaths.hash). */
  hash: string
  credentials: CredentialSource
  /** Finds or makes the base image of a runtime. */
  base(runtime: string, note: (text: string) => void, signal: AbortSignal): Promise<BaseImage>
  log: Logger
  /** Layers kept for later builds, at most so many bytes. Default 4 GiB. */
  maxCacheBytes?: number
}

const MAX_PACKAGE_JSON_BYTES = 1024 * 1024
const MAX_LOCK_BYTES = 32 * 1024 * 1024
const MAX_BOOTSTRAP_BYTES = 256 * 1024
const BOOTSTRAP = 'scf_bootstrap'

/** What one build knows when its source has been read. */
interface Prepared {
  tree: SourceTree
  settings: FunctionYaml
  name: string
  namespace: string
  detected: Detected
  texts: SourceTexts
}

interface SourceTexts {
  packageJson: string | undefined
  lock: string | undefined
  bootstrap: string | undefined
}

export function createBuilder(options: BuilderOptions): Builder {
  mkdirSync(options.cacheDirectory, { recursive: true, mode: 0o700 })
  const cache = new LayerCache(join(options.cacheDirectory, 'layers'))
  return {
    build: (request, signal) =>
      build(options, cache, request, signal).catch((thrown: unknown) => {
        throw errnoOf(thrown) === 'ENOSPC' ? diskFull(options.cacheDirectory, thrown) : thrown
      }),
  }
}

async function build(
  options: BuilderOptions,
  cache: LayerCache,
  request: BuildRequest,
  signal: AbortSignal,
): Promise<BuildResult> {
  const startedMs = performance.now()
  const steps = new Steps(request.onEvent ?? (() => undefined))
  const prepared = await steps.run('source', (note) => prepare(request, note, signal))
  const { plan, base } = await steps.run('plan', (note) => makePlan(options, prepared, note, signal))
  const files = new Map(base.files)
  const layers: NewLayer[] = []
  let dependencies: DependencyLayer | undefined
  if (plan.dependencies !== 'none') {
    dependencies = await steps.run('dependencies', (note) =>
      install(options, cache, prepared, plan, base, note, signal),
    )
    layers.push({ ...dependencies.layer, createdBy: 'dependencies' })
    files.set(dependencies.layer.descriptor.digest, dependencies.layer.file)
  }
  const application = await steps.run('application', async () => {
    const { layer, reused } = await applicationLayer(prepared.tree, new Set([BOOTSTRAP]), cache, signal)
    return { value: layer, reused, detail: `${prepared.tree.entries.length} entries, ${layer.descriptor.size} bytes` }
  })
  layers.push({ ...application, createdBy: 'application' })
  files.set(application.descriptor.digest, application.file)
  const image = buildImage({ base, layers, changes: plan.changes })
  const { registry, tag = 'latest' } = request.target
  const repository = request.target.repository ?? `${prepared.namespace}/${prepared.name}`
  const published = await steps.run('push', async () => {
    const credential = await options.credentials.for(registry, repository, 'push', signal)
    const client = new RegistryClient({ registry, credential, signal })
    try {
      const result = await publishImage({ client, repository, tag, image, files, base })
      return { value: result, detail: `${result.pushedBytes} bytes sent, ${result.reusedBytes} there already` }
    } finally {
      await client.close()
    }
  })
  cache.trim(options.maxCacheBytes ?? 4 * 1024 ** 3)
  const { digest } = image.manifest.descriptor
  const blobs = [image.manifest.descriptor, image.config.descriptor, ...image.layers]
  const { name, namespace, settings, detected } = prepared
  return {
    image: `${registry}/${repository}@${digest}`,
    digest,
    platformDigest: digest,
    tag,
    sizeBytes: blobs.reduce((sum, { size }) => sum + size, 0),
    ...published,
    durationMs: Math.round(performance.now() - startedMs),
    steps: steps.times,
    settings: { ...settings, name, namespace, type: detected.type, runtime: detected.runtime },
    secrets: prepared.tree.secrets,
    ...(dependencies?.resolvedLock === undefined
      ? {}
      : { resolvedLock: { file: plan.lockFile, text: dependencies.resolvedLock } }),
  }
}

function prepare(
  request: BuildRequest,
  note: (text: string) => void,
  signal: AbortSignal,
): { value: Prepared; detail: string } {
  const { source } = request
  const tree = scanSource(source, DEFAULT_SOURCE_LIMITS, signal)
  if (tree.secrets.length > 0) note(`left out, since such files hold secrets: ${tree.secrets.slice(0, 20).join(', ')}`)
  const settings = { ...readFunctionFile(source), ...request.settings }
  const texts = readTexts(tree)
  const detected = detect(factsOf(tree, texts), settings)
  const { name = defaultName(source), namespace = 'default' } = settings
  const files = tree.entries.filter((entry) => entry.kind === 'file').length
  return {
    value: { tree, settings, name, namespace, detected, texts },
    detail: `${files} files, ${tree.bytes} bytes`,
  }
}

function readTexts(tree: SourceTree): SourceTexts {
  const read = (name: string, maxBytes: number): string | undefined => {
    const entry = tree.entries.find(
      (candidate): candidate is SourceFile => candidate.kind === 'file' && candidate.path === name,
    )
    return entry === undefined ? undefined : readSourceText(tree.root, entry, maxBytes)
  }
  return {
    packageJson: read('package.json', MAX_PACKAGE_JSON_BYTES),
    lock: read('npm-shrinkwrap.json', MAX_LOCK_BYTES) ?? read('package-lock.json', MAX_LOCK_BYTES),
    bootstrap: read(BOOTSTRAP, MAX_BOOTSTRAP_BYTES),
  }
}

function factsOf(tree: SourceTree, { packageJson, bootstrap }: SourceTexts): SourceFacts {
  const files = new Set(tree.entries.flatMap((entry) => (entry.kind === 'file' ? [entry.path] : [])))
  return { files, packageJson, bootstrap }
}

async function makePlan(
  options: BuilderOptions,
  prepared: Prepared,
  note: (text: string) => void,
  signal: AbortSignal,
): Promise<{ value: { plan: BuildPlan; base: BaseImage }; detail: string }> {
  const base = await options.base(prepared.detected.runtime, note, signal)
  const plan = planBuild(prepared.detected, base.digest, base.config.config?.Entrypoint ?? [])
  return { value: { plan, base }, detail: plan.lines.join('; ') }
}

async function install(
  options: BuilderOptions,
  cache: LayerCache,
  prepared: Prepared,
  plan: BuildPlan,
  base: BaseImage,
  note: (text: string) => void,
  signal: AbortSignal,
): Promise<{ value: DependencyLayer; detail: string; reused: boolean }> {
  const namespaces = new NetworkNamespaces(options.log)
  try {
    const machine: SandboxMachine = {
      directory: options.sandboxDirectory,
      hash: options.hash,
      namespaces,
      volumes: new TmpVolumes(join(options.cacheDirectory, 'volumes')),
      cgroups: detectCgroups(),
    }
    await sweepSandboxes(machine)
    const tools: DependencyTools = {
      machine,
      cache,
      cacheDirectory: options.cacheDirectory,
      baseLayers: (of, during) => unpackBase(of, options.cacheDirectory, during),
      note,
    }
    const { detected, texts } = prepared
    const value = await dependencyLayer(
      {
        base,
        packageJson: texts.packageJson ?? '{}',
        dependencyKey: detected.package?.dependencyKey ?? '',
        lockFile: plan.lockFile,
        lock: texts.lock,
      },
      tools,
      signal,
    )
    return { value, reused: value.reused, detail: `${value.layer.descriptor.size} bytes` }
  } finally {
    namespaces.close()
  }
}

function diskFull(directory: string, cause: unknown): AppError {
  return new AppError(`the build ended since the disk of ${directory} is full`, {
    code: 'disk-full',
    retryable: true,
    hint: 'free space, or name another data directory by SLIPWAY_DATA',
    cause,
  })
}
