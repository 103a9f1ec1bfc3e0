import type { Credential, Reach } from '../../oci/index.ts'
import type { CredentialSource, Purpose } from '../credential.ts'
import type { NamedSource } from './source.ts'

/** The end of every chain: whoever asks without a credential is told so by name. */
const ANONYMOUS = 'anonymous'

export interface ChainOptions {
  /** Asked in this order; the first that has a credential ends the search, the first that fails fails it. */
  sources: readonly NamedSource[]
  /** What the registry's entry allows. */
  reachOf?: (registry: string) => Reach | undefined
}

/** Sources in their order, then nobody. Every credential that leaves it says where it came from and where it may be carried. */
export class CredentialChain implements CredentialSource {
  readonly #options: ChainOptions

  constructor(options: ChainOptions) {
    this.#options = options
  }

  async for(registry: string, repository: string, purpose: Purpose, signal?: AbortSignal): Promise<Credential> {
    const { sources, reachOf } = this.#options
    const reach = reachOf?.(registry)
    const common = reach === undefined ? {} : { reach }
    for (const source of sources) {
      signal?.throwIfAborted()
      const found = await source.find({ registry, repository, purpose }, signal)
      if (found !== undefined) return { ...found, source: found.source ?? source.name, ...common }
    }
    return { kind: 'anonymous', source: ANONYMOUS, ...common }
  }
}
