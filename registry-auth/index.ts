export { type Authenticator, firstOf, type Principal, type RefreshTokens } from './authenticator.ts'
export type { Credential, CredentialSource, Purpose } from './credential.ts'
export { type Action, allowedAccess, formatGrant, type Grant, parseGrant } from './grants.ts'
export {
  collectCommand,
  LOCAL_REGISTRY_NAMES,
  type LocalRegistrySettings,
  REGISTRY_DRAIN_MS,
  registryCommand,
  registryConfig,
  waitForRegistry,
} from './local-registry.ts'
export { type Access, parseScopes } from './scope.ts'
export { type SigningKey, SigningKeys } from './signing-keys.ts'
export {
  CredentialChain,
  EcrTokens,
  lookAtRegistry,
  type NamedSource,
  Registries,
  type RegistryStore,
  SecretBox,
  type StoredRegistry,
} from './sources/index.ts'
export {
  type IssuedCredential,
  TEMPORARY_PREFIX,
  type TemporaryCredential,
  TemporaryCredentials,
} from './temporary-credentials.ts'
export type { TokenAnswer } from './token-answers.ts'
export { tokenHandler } from './token-http.ts'
export { type TokenAudit, type TokenRequest, TokenServer, type TokenServerOptions } from './token-server.ts'
export { RegistryUsers, type UserRecord, type UserStore } from './users.ts'
export { WriteGate } from './write-gate.ts'
export { WrongPasswords } from './wrong-passwords.ts'
