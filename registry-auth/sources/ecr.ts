import type { Credential } from '../../oci/index.ts'
import type { Purpose } from '../credential.ts'
import { askEcr, type EcrSettings, type EcrToken } from './ecr-api.ts'
import { Renewing, type RenewingOptions } from './renewing.ts'

/** Tokens of ECR registries, kept until they are renewed: one for each registry, or with a role one for each repository and purpose. */
export class EcrTokens {
  readonly #tokens: Renewing<EcrToken>
  readonly #now: () => number

  constructor(options: RenewingOptions = {}) {
    this.#tokens = new Renewing(options)
    this.#now = options.now ?? Date.now
  }

  async credential(
    settings: EcrSettings,
    registry: string,
    repository: string,
    purpose: Purpose,
    signal?: AbortSignal,
  ): Promise<Credential> {
    const narrowed = settings.roleArn === undefined ? '' : `${purpose}:${repository}`
    const make = (shared: AbortSignal) => askEcr(settings, repository, purpose, this.#now(), shared)
    const { value, expiresAtMs } = await this.#tokens.get(`${registry} ${narrowed}`, make, signal)
    return { kind: 'basic', ...value, expiresAtMs, source: sourceName(settings) }
  }

  /** The settings of this registry have changed. */
  forget(registry: string): void {
    this.#tokens.forget(`${registry} `)
  }
}

function sourceName({ kind, region, roleArn }: EcrSettings): string {
  const place = kind === 'ecr' ? `${kind} ${region}` : kind
  return roleArn === undefined ? place : `${place} as ${roleArn}`
}
