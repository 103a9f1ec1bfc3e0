/**
 * A credential for a registry. The secret is held in memory only; `expiresAtMs` is the instant after which it must not be used.
 */
export type Credential =
  | { kind: 'anonymous' }
  | { kind: 'basic'; username: string; password: string; expiresAtMs?: number }
  | { kind: 'bearer'; token: string; expiresAtMs?: number }
