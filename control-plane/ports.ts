import type { IncomingMessage, ServerResponse } from 'node:http'
import type {
  LogLine,
  RegistryCollectionRequest,
  RegistryCollectionStep,
  RegistryImage,
  RegistryUser,
  Version,
} from '../api/index.ts'
import type { Reference } from '../oci/index.ts'

/** What the control plane needs of others, each implemented beside what it talks to and wired in main.ts. */

/** Pins a reference: what its tag points to now, and this machine's manifest in it. */
export interface ImageResolver {
  /**
   * `reference` has a tag, a digest or both (the digest decides). Throws `image-not-found`, `image-not-allowed` (the namespace has no
   * right to the repository), `image-unsupported` (no manifest for this platform, or one that cannot run), `image-too-large`,
   * `registry-unauthorized`, `registry-denied`, `registry-unreachable`, `registry-error`.
   */
  resolve(reference: Reference, namespace: string, signal: AbortSignal): Promise<Version['image']>
}

export interface LogQuery {
  namespace: string
  function: string
  /** Nothing older. */
  sinceMs?: number
  requestId?: string
  /** Goes on with what is printed from now on, until `signal`. */
  follow: boolean
  signal: AbortSignal
}
export interface LogReader {
  read(query: LogQuery): AsyncIterable<LogLine>
}

/** The local registry, as far as the API shows it. */
export interface RegistryAccess {
  /** `127.0.0.1:5000`: the registry that references without a host mean. */
  host: string
  /** The token endpoint (GET and POST); reads and answers by itself. */
  token(request: IncomingMessage, response: ServerResponse): void | Promise<void>
  /** A user name and password for pushes below `NAMESPACE/`, which may mount layers of base images, for a short while. */
  issuePush(namespace: string): { username: string; password: string; expiresAtMs: number }
  users: RegistryUsers
  /** Of one repository, or of all below `PREFIX/`; without either all. */
  images(repository?: string): Promise<RegistryImage[]>
  /** Removes what nobody needs, and tells each step. Throws `registry-collecting`. */
  collect(options: RegistryCollectionRequest): AsyncIterable<RegistryCollectionStep>
  /** Work that makes something refer to an image: no collection removes the image meanwhile. */
  sharing<T>(work: () => Promise<T>): Promise<T>
  /** Signs with a new key from now on. */
  rotateKeys(): { rotatedAtMs: number; notAfterMs: number }
}
export interface RegistryUsers {
  list(): RegistryUser[]
  /** Answers the password, which is not kept. Throws `user-exists`, `user-name-invalid`, `grant-invalid`. */
  add(username: string, allow: readonly string[]): Promise<string>
  /** Throws `user-not-found`, `grant-invalid`. */
  setRights(username: string, allow: readonly string[]): Promise<void>
  /** Throws `user-not-found`. */
  revoke(username: string): Promise<void>
}

/** The pull credentials in force. */
export interface PullControl {
  /** Refuses one from now on and ends its download at once. Answers whether it was in force. */
  end(id: string, reason: string): Promise<boolean>
}

/** What `slipway status` says of the processes. */
export interface PlatformStatus {
  ready: boolean
  engine: string
  processes: { role: string; pid: number }[]
}
