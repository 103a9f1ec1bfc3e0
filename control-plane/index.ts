export { type ControlPlane, type ControlPlaneOptions, createControlPlane } from './control-plane.ts'
export type { UpgradingRuntime } from './gateway/web-call.ts'
export { type RegistryResolverOptions, registryImageResolver } from './image-resolver.ts'
export type {
  ImageResolver,
  LogQuery,
  LogReader,
  PlatformStatus,
  PullControl,
  RegistryAccess,
  RegistryUsers,
} from './ports.ts'
export type { CredentialLedger, LedgerCredential } from './store/ledger.ts'
export { openSqliteStore, type SqliteStoreOptions } from './store/sqlite.ts'
export type { DocumentStore, RecordQuery, Retention, Snapshot, Store } from './store/store.ts'
