import type { Credential } from '../oci/index.ts'

export type { Credential } from '../oci/index.ts'

export type Purpose = 'pull' | 'push'

/** Where credentials come from: one port, an adapter for each provider. */
export interface CredentialSource {
  for(registry: string, repository: string, purpose: Purpose, signal?: AbortSignal): Promise<Credential>
}
