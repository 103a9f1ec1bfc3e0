import type { Logger } from '../../common/index.ts'
import type { Runtime } from '../../runtime-shim/index.ts'
import type { PublicAddress } from '../function-view.ts'
import type { ImageResolver, LogReader, PlatformStatus, RegistryAccess } from '../ports.ts'
import type { Store } from '../store/store.ts'

/** What the handlers of all routes work with. */
export interface RouteDependencies {
  store: Store
  runtime: Runtime
  resolver: ImageResolver
  logReader: LogReader
  registry: RegistryAccess
  address: PublicAddress
  platformStatus: () => PlatformStatus | Promise<PlatformStatus>
  platformVersion: string
  logger: Logger
}
