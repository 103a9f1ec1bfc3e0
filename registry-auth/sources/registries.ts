import type { RegistryEntry, RegistryEntryRequest } from '../../api/index.ts'
import { AppError } from '../../common/index.ts'
import { type Credential, parseReference, type Reach } from '../../oci/index.ts'
import { EcrTokens } from './ecr.ts'
import type { EcrSettings } from './ecr-api.ts'
import { checkedEntry } from './registry-entry.ts'
import type { SecretBox } from './secret-box.ts'
import { type CredentialRequest, canonicalRegistry, type NamedSource } from './source.ts'

/** An entry as it is stored: with the secret of its login or access key, encrypted. */
export interface StoredRegistry extends RegistryEntry {
  sealed?: string
}

/** Where entries are kept: read from memory, written durably. */
export interface RegistryStore {
  get(host: string): StoredRegistry | undefined
  list(): StoredRegistry[]
  put(entry: StoredRegistry): Promise<void>
  delete(host: string): Promise<boolean>
}

export interface RegistriesOptions {
  store: RegistryStore
  /** Opened when the first secret is stored or needed. */
  secrets: () => SecretBox
  tokens?: EcrTokens
}

/**
 * What the platform knows of foreign registries: how to log in, and what their clients may do beyond the rules. As a source it answers
 * for the registries that have a login or a provider; the secrets leave it only as credentials for their own registry.
 */
export class Registries implements NamedSource {
  readonly name = 'registry entry'
  readonly #store: RegistryStore
  readonly #secrets: () => SecretBox
  readonly #tokens: EcrTokens

  constructor({ store, secrets, tokens = new EcrTokens() }: RegistriesOptions) {
    this.#store = store
    this.#secrets = secrets
    this.#tokens = tokens
  }

  list(): RegistryEntry[] {
    return this.#store.list().map(withoutSecret)
  }

  /** What the entry allows; undefined without an entry. */
  reachOf(registry: string): Reach | undefined {
    const entry = this.#store.get(canonicalRegistry(registry))
    if (entry === undefined) return undefined
    const { realm, plainHttp, allowPrivate } = entry
    return {
      ...(realm === undefined ? {} : { realm }),
      ...(plainHttp === undefined ? {} : { plainHttp }),
      ...(allowPrivate === undefined ? {} : { allowPrivate }),
    }
  }

  /** Throws `registry-entry-invalid`, `reference-invalid`. */
  async set(registry: string, request: RegistryEntryRequest): Promise<RegistryEntry> {
    const host = hostOf(registry)
    const { secretAccessKey, ...rest } = checkedEntry(host, request)
    const before = this.#store.get(host)
    const keepsLogin = rest.provider === 'none' && before?.provider === 'login'
    const entry: StoredRegistry = {
      ...rest,
      ...(keepsLogin ? login(before) : {}),
      ...(secretAccessKey === undefined ? {} : { sealed: this.#secrets().seal(host, secretAccessKey) }),
      host,
      changedAtMs: Date.now(),
    }
    return this.#put(entry)
  }

  /** Keeps a login; what the entry allows stays. */
  async login(registry: string, username: string, password: string): Promise<RegistryEntry> {
    const host = hostOf(registry)
    const sealed = this.#secrets().seal(host, password)
    const allowed = this.reachOf(host)
    return this.#put({ host, provider: 'login', username, sealed, ...allowed, changedAtMs: Date.now() })
  }

  /** Forgets the login or provider; what the entry allows stays. Throws `registry-entry-not-found`. */
  async logout(registry: string): Promise<RegistryEntry> {
    const host = hostOf(registry)
    this.#known(host)
    return this.#put({ host, provider: 'none', ...this.reachOf(host), changedAtMs: Date.now() })
  }

  /** Throws `registry-entry-not-found`. */
  async remove(registry: string): Promise<RegistryEntry> {
    const host = hostOf(registry)
    const entry = this.#known(host)
    await this.#store.delete(host)
    this.#tokens.forget(host)
    return withoutSecret(entry)
  }

  async find(
    { registry, repository, purpose }: CredentialRequest,
    signal?: AbortSignal,
  ): Promise<Credential | undefined> {
    const entry = this.#store.get(canonicalRegistry(registry))
    if (entry === undefined || entry.provider === 'none') return undefined
    const { host, provider, username, sealed } = entry
    const secret = sealed === undefined ? undefined : this.#secrets().unseal(host, sealed)
    if (provider !== 'login') {
      return this.#tokens.credential(ecrSettings({ ...entry, provider }, secret), host, repository, purpose, signal)
    }
    if (username === undefined || secret === undefined) return undefined
    return { kind: 'basic', username, password: secret, source: `login for ${host}` }
  }

  async #put(entry: StoredRegistry): Promise<RegistryEntry> {
    await this.#store.put(entry)
    this.#tokens.forget(entry.host)
    return withoutSecret(entry)
  }

  #known(host: string): StoredRegistry {
    const entry = this.#store.get(host)
    if (entry !== undefined) return entry
    throw new AppError(`there is no entry for the registry ${host}`, {
      code: 'registry-entry-not-found',
      fault: 'user',
      hint: 'see those there are: slipway registry hosts',
    })
  }
}

function hostOf(registry: string): string {
  return canonicalRegistry(parseReference(`${registry}/x`, '').registry)
}

function login({ username, sealed }: StoredRegistry): Partial<StoredRegistry> {
  if (username === undefined || sealed === undefined) return {}
  return { provider: 'login', username, sealed }
}

function withoutSecret({ sealed: _sealed, ...entry }: StoredRegistry): RegistryEntry {
  return entry
}

function ecrSettings(
  entry: StoredRegistry & { provider: 'ecr' | 'ecr-public' },
  secretAccessKey: string | undefined,
): EcrSettings {
  const { host, provider, region = '', roleArn, externalId, endpoint, accessKeyId } = entry
  const [account] = /^\d{12}(?=\.)/.exec(host) ?? []
  return {
    kind: provider,
    region,
    ...(account === undefined ? {} : { account }),
    ...(roleArn === undefined ? {} : { roleArn }),
    ...(externalId === undefined ? {} : { externalId }),
    ...(endpoint === undefined ? {} : { endpoint }),
    ...(accessKeyId === undefined || secretAccessKey === undefined ? {} : { keys: { accessKeyId, secretAccessKey } }),
  }
}
