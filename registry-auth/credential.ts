/**
 * A credential for a registry. The secret is held in memory only; `expiresAtMs` is the instant after which it must not be used.
 */
export type Credential =
  | { kind: 'anonymous' }
  | { kind: 'basic'; username: string; password: string; expiresAtMs?: number }
  | { kind: 'bearer'; token: string; expiresAtMs?: number }

export type Purpose = 'pull' | 'push'

/** Where credentials come from: one port, an adapter for each provider. */
export interface CredentialSource {
  for(registry: string, repository: string, purpose: Purpose, signal?: AbortSignal): Promise<Credential>
}
