import {
  DEFAULT_BOUNDS,
  type DeployRequest,
  type Namespace,
  resolveSettings,
  type Settings,
  type Version,
} from '../api/index.ts'
import { AppError } from '../common/index.ts'
import { parseReference } from '../oci/index.ts'
import type { ImageResolver } from './ports.ts'
import type { Store } from './store/store.ts'

export interface DeployDependencies {
  store: Store
  resolver: ImageResolver
  /** Registry of references without a host. */
  registry: string
}

export interface Deployment extends DeployRequest {
  namespace: string
  name: string
}

/** A caller that did not say which revision it expects is not troubled by another who deploys at the same instant. */
const MAX_TRIES = 5

/**
 * Makes the function what is asked: settings checked, image pinned, then one durable write. Until that write nothing has changed, so
 * whatever fails before leaves the former content serving.
 */
export async function deploy(
  dependencies: DeployDependencies,
  request: Deployment,
  signal: AbortSignal,
): Promise<Version> {
  const image = request.image === undefined ? undefined : await pin(dependencies, request, request.image, signal)
  for (let tries = 1; ; tries += 1) {
    try {
      return await write(dependencies.store, request, image)
    } catch (thrown) {
      const raced =
        thrown instanceof AppError && thrown.code === 'revision-conflict' && request.ifRevision === undefined
      if (!raced || tries === MAX_TRIES) throw thrown
    }
  }
}

async function pin(
  { store, resolver, registry }: DeployDependencies,
  request: Deployment,
  image: string,
  signal: AbortSignal,
): Promise<Version['image']> {
  // What is wrong already is said before the registry is asked.
  settingsFor(store, request)
  const reference = parseReference(image, registry)
  const tagged =
    reference.tag === undefined && reference.digest === undefined ? { ...reference, tag: 'latest' } : reference
  return resolver.resolve(tagged, request.namespace, signal)
}

async function write(store: Store, request: Deployment, pinned: Version['image'] | undefined): Promise<Version> {
  const { namespace, name, keep = false } = request
  const current = store.snapshot.function(namespace, name)
  const settings = settingsFor(store, request)
  const image = pinned ?? (keep ? current?.image : undefined)
  if (image === undefined) {
    throw new AppError(`deploy of ${namespace}/${name} names no image`, {
      code: 'image-required',
      fault: 'user',
      hint: 'give `image`; to change settings of a function that exists, give `keep`',
    })
  }
  const expected = request.ifRevision ?? (keep ? (current?.revision ?? 0) : undefined)
  return store.putFunction({ namespace, function: name, image, settings }, expected)
}

function settingsFor(store: Store, { namespace, name, settings = {}, keep = false }: Deployment): Settings {
  const { maxEnvBytes, maxMemoryMb, maxBodyBytes = DEFAULT_BOUNDS.maxBodyBytes } = requireNamespace(store, namespace)
  const current = keep ? store.snapshot.function(namespace, name)?.settings : undefined
  return resolveSettings(settings, { maxEnvBytes, maxMemoryMb, maxBodyBytes }, current)
}

export function requireNamespace(store: Store, name: string): Namespace {
  const namespace = store.snapshot.namespace(name)
  if (namespace !== undefined) return namespace
  throw new AppError(`there is no namespace ${name}`, {
    code: 'namespace-not-found',
    fault: 'user',
    hint: `make it: slipway namespace create ${name}`,
  })
}

export function requireFunction(store: Store, namespace: string, name: string): Version {
  requireNamespace(store, namespace)
  const version = store.snapshot.function(namespace, name)
  if (version !== undefined) return version
  throw new AppError(`there is no function ${name} in namespace ${namespace}`, {
    code: 'function-not-found',
    fault: 'user',
    hint: `see those there are: slipway list --namespace ${namespace}`,
  })
}
