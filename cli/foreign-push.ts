import type { RegistryEntry } from '../api/index.ts'
import { toAppError } from '../common/index.ts'
import { parseReference } from '../oci/index.ts'
import {
  CredentialChain,
  type CredentialSource,
  canonicalRegistry,
  DockerConfigSource,
  Registries,
  type StoredRegistry,
  userConfigPlaces,
} from '../registry-auth/sources/index.ts'
import { type Context, usageError } from './command.ts'

/** Where a build or push goes, and with whose credential. */
export interface PushTarget {
  registry: string
  repository: string
  /** Absent: what `--tag` says. */
  tag?: string
  credentials: CredentialSource
}

/**
 * A target in another registry, `HOST/REPOSITORY[:TAG]`. Who pushes is the caller, not the platform: with what docker or podman know of
 * the registry, else as its entry says (Amazon ECR with the keys of this environment), else as nobody. A login that the platform
 * keeps never leaves it.
 */
export async function foreignPush(context: Context, to: string): Promise<PushTarget> {
  const { registry, repository, tag, digest } = parseReference(to, '-')
  if (registry === '-' || digest !== undefined)
    throw usageError(`--to is HOST/REPOSITORY[:TAG], not "${to.slice(0, 200)}"`)
  const entries = knownTo(await entriesOf(context))
  const docker = new DockerConfigSource(userConfigPlaces(context.env), { env: context.env })
  const chain = new CredentialChain({ sources: [docker, entries], reachOf: (host) => entries.reachOf(host) })
  // Base images are published in the platform's registry alone: a credential for a push is for the repository that was named.
  const credentials: CredentialSource = {
    for: async (host, name, purpose, signal) =>
      name === repository ? chain.for(host, name, purpose, signal) : { kind: 'anonymous', source: 'nobody' },
  }
  return { registry, repository, ...(tag === undefined ? {} : { tag }), credentials }
}

/** Only administrators see entries; others push by the rules alone. */
async function entriesOf(context: Context): Promise<RegistryEntry[]> {
  try {
    return (await context.api().call('listRegistries', {})).registries
  } catch (thrown) {
    if (toAppError(thrown).code === 'access-denied') return []
    throw thrown
  }
}

/** The platform's entries without their secrets: what they say of providers and of what is allowed. */
function knownTo(list: readonly RegistryEntry[]): Registries {
  const byHost = new Map<string, StoredRegistry>(list.map((entry) => [canonicalRegistry(entry.host), entry]))
  const readOnly = (): never => {
    throw new TypeError('entries are changed through the API')
  }
  return new Registries({
    store: { get: (host) => byHost.get(host), list: () => [...list], put: readOnly, delete: readOnly },
    secrets: readOnly,
  })
}
