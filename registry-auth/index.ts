export { type Authenticator, firstOf, type Principal, type RefreshTokens } from './authenticator.ts'
export type { Credential, CredentialSource, Purpose } from './credential.ts'
export { type Action, allowedAccess, formatGrant, type Grant, parseGrant } from './grants.ts'
export {
  LOCAL_REGISTRY_NAMES,
  type LocalRegistrySettings,
  registryCommand,
  registryConfig,
  waitForRegistry,
} from './local-registry.ts'
export { type Access, parseScopes } from './scope.ts'
export { type SigningKey, SigningKeys } from './signing-keys.ts'
export { type TemporaryCredential, TemporaryCredentials } from './temporary-credentials.ts'
export { tokenHandler } from './token-http.ts'
export { type TokenAnswer, type TokenRequest, TokenServer, type TokenServerOptions } from './token-server.ts'
export { RegistryUsers, type UserRecord, type UserStore } from './users.ts'
