import type { Logger } from '../../common/index.ts'
import type { Registries } from '../../registry-auth/index.ts'
import type { Runtime } from '../../runtime-shim/index.ts'
import type { PublicAddress } from '../function-view.ts'
import type { ImageResolver, LogReader, PlatformStatus, PullControl, RegistryAccess } from '../ports.ts'
import type { TestCredentials } from '../registries.ts'
import type { Store } from '../store/store.ts'

/** What the handlers of all routes work with. */
export interface RouteDependencies {
  store: Store
  runtime: Runtime
  resolver: ImageResolver
  logReader: LogReader
  registry: RegistryAccess
  /** What is known of foreign registries. */
  registries: Registries
  testCredential: TestCredentials
  pulls: PullControl
  address: PublicAddress
  platformStatus: () => PlatformStatus | Promise<PlatformStatus>
  platformVersion: string
  logger: Logger
}
