import { join } from 'node:path'
import { type Logger, messageOf } from '../common/index.ts'
import {
  type Credential,
  CredentialChain,
  type CredentialSource,
  EcrTokens,
  type NamedSource,
  type Purpose,
  Registries,
  SecretBox,
  type StoredRegistry,
  type TemporaryCredentials,
} from '../registry-auth/index.ts'
import type { HostClient } from '../runtime-shim/index.ts'
import type { DocumentStore } from './store/store.ts'

const COLLECTION = 'registries'

/** Foreign registries, kept as documents of the store; the key of their secrets lies beside the database, in a file of its own. */
export function storedRegistries(documents: DocumentStore, directory: string, logger: Logger): Registries {
  let box: SecretBox | undefined
  const onRenewalFailed = (key: string, thrown: unknown): void =>
    logger.warn(
      { registry: key, err: messageOf(thrown) },
      'registry credential not renewed; the former one is served to its end',
    )
  return new Registries({
    store: {
      get: (host) => documents.get(COLLECTION, host) as StoredRegistry | undefined,
      list: () => documents.list(COLLECTION).map(({ document }) => document as StoredRegistry),
      put: (entry) => documents.put(COLLECTION, entry.host, entry),
      delete: (host) => documents.delete(COLLECTION, host),
    },
    tokens: new EcrTokens({ onRenewalFailed }),
    secrets: () => (box ??= SecretBox.open(join(directory, 'secrets.key'))),
  })
}

/** The docker configuration that the platform was started with. The supervisor reads it and runs its helpers: the server starts no program. */
function platformConfig(host: HostClient): NamedSource {
  return {
    name: 'docker-config',
    find: async (request, signal) => (await host.call('findCredential', request, signal)).credential ?? undefined,
  }
}

/** Credentials for registries other than the local one: what their entries say, then the platform's docker configuration, then nobody. */
export function foreignCredentials(registries: Registries, host: HostClient): CredentialSource {
  return new CredentialChain({
    sources: [registries, platformConfig(host)],
    reachOf: (registry) => registries.reachOf(registry),
  })
}

/** A credential for one test of an access: found when it is asked for, since that is the first step of the test. */
export interface TestCredential {
  find(): Promise<Credential>
  end(): void
}
export type TestCredentials = (
  registry: string,
  repository: string,
  purpose: Purpose,
  signal: AbortSignal,
) => TestCredential

const TEST_MS = 60_000

/** What a pull or push of the platform itself would use: at the local registry a temporary one for this repository. */
export function testCredentials(
  temporary: TemporaryCredentials,
  localRegistry: string,
  others: CredentialSource,
): TestCredentials {
  return (registry, repository, purpose, signal) => {
    if (registry !== localRegistry) {
      return { find: () => others.for(registry, repository, purpose, signal), end: () => undefined }
    }
    // `delete` is what docker-registry asks for to cancel an upload.
    const actions = purpose === 'push' ? (['pull', 'push', 'delete'] as const) : (['pull'] as const)
    const issued = temporary.issue([{ repository, actions }], Date.now() + TEST_MS)
    const { username, password } = issued
    const find = async () => ({ kind: 'basic', username, password, source: 'the platform itself' }) as const
    return { find, end: () => issued.end() }
  }
}
