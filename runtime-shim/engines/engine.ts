import type { Digest, ImageConfig } from '../../oci/index.ts'
import type { Credential } from '../../registry-auth/index.ts'

/**
 * The port to whatever runs instances. Every adapter passes the same suite (contract.ts).
 * Used by the supervisor, by builds and by the node agent; never by the server.
 */
export interface Engine {
  readonly name: 'runc' | 'docker' | 'kubernetes'
  readonly capabilities: EngineCapabilities
  /** Makes an image ready to start here: pulled, verified, unpacked. With every blob local the credential is not used. */
  prepare(request: PrepareRequest, signal?: AbortSignal): Promise<PreparedImage>
  /**
   * Makes everything of an instance but its process's first instruction. `spec.directory` exists and holds instance.json already,
   * so a crash at any point leaves a name to clean up by. Throws `instance-exists` for an id in use and `instance-create-failed`
   * with the runtime's exact message (a command that does not exist, a user that is not in the image).
   */
  create(spec: InstanceSpec, signal?: AbortSignal): Promise<EngineInstance>
  /** Takes back an instance made by an earlier process. Undefined when nothing of it runs any more; `sweep` then removes its traces. */
  adopt(spec: InstanceSpec): Promise<EngineInstance | undefined>
  /** How an instance ended of which nothing runs any more, where that is still known: asked before its traces are removed. */
  lastExit(spec: InstanceSpec): Promise<ExitStatus | undefined>
  /** Removes every trace that an instance with this id may have left: idempotent, needs only the id and its directory. */
  sweep(id: string, directory: string): Promise<void>
  /** Ids of everything of this platform (by the hash of its data directory) that the engine still knows: for finding strays. */
  strays(): Promise<string[]>
  close(): Promise<void>
}

export interface EngineCapabilities {
  freeze: boolean
  /** `create` costs nothing but memory and `start` is then quick. */
  createAhead: boolean
  /** CPU limits can be set after the process listens. */
  cpuAfterListen: boolean
  /** `dial` enters the instance's own network namespace; no port of the host is used. */
  localDial: boolean
}

export interface PrepareRequest {
  registry: string
  repository: string
  digest: Digest
  /** Null: nothing is fetched; an image that is not local already is refused with `image-not-local`. */
  credential: Credential | null
  /** The instant (as of `Date.now()`) at which a pull fails with `pull-timeout`. */
  deadlineMs: number
}

export interface PreparedImage {
  /** Digest of the platform's manifest. */
  digest: Digest
  config: ImageConfig
  sizeBytes: number
  pulled: boolean
  pullMs: number
  unpackMs: number
}

export interface InstanceSpec {
  /** 16 lower-case hex digits; every name of the instance derives from it and from the data directory's hash. */
  id: string
  /** `run/instances/ID`, mode 0700. */
  directory: string
  image: { registry: string; repository: string; digest: Digest; config: ImageConfig }
  /** Replaces ENTRYPOINT and drops the image's CMD (runtime-contract A2). */
  command?: string[]
  /** Replaces CMD. */
  args?: string[]
  /** Laid over the image's ENV. */
  env: Record<string, string>
  hostname: string
  memoryBytes: number
  /** Cores, for example 0.1; applied by `applyCpuLimit`, not at start. */
  cpus: number
  /** Processes and threads, 32 to 1024. */
  pids: number
  openFiles: number
  tmpBytes: number
}

export interface EngineInstance {
  readonly id: string
  /** Runs the process made by `create`. */
  start(): Promise<void>
  /** One attempt to connect to `port` of the instance. Synchronous in effect: no byte is sent, nothing waits longer than 1 s. */
  dial(port: number): Promise<DialOutcome>
  applyCpuLimit(): Promise<void>
  /** The current output file (lines as conmon's k8s-file format: `TIME STREAM F|P TEXT`); may grow and be rotated. */
  readonly outputFile: string
  /** Moves the current output file to `outputFile + '.' + n` and starts a new one without losing a line; answers the moved file's path. */
  rotateOutput(): Promise<string>
  /** Settles once, when the process is gone. */
  readonly exited: Promise<ExitStatus>
  /** How many processes of the instance the kernel has killed for memory so far. */
  oomKills(): Promise<number>
  freeze(): Promise<void>
  thaw(): Promise<void>
  /** STOPSIGNAL (or SIGTERM), then SIGKILL to everything after `graceMs`. */
  stop(graceMs: number): Promise<ExitStatus>
  stats(): Promise<InstanceStats>
  /** Removes every trace but the instance directory; kills first when it still runs. Idempotent. */
  remove(): Promise<void>
}

export type DialOutcome =
  /** `fd` is a connected, non-blocking stream socket with CLOEXEC, owned by the caller. */
  { kind: 'connected'; fd: number } | { kind: 'refused' } | { kind: 'busy' } | { kind: 'gone' }

export interface ExitStatus {
  /** Exit code, or 128 + signal when it died of one. */
  code: number
  /** `SIGKILL`, where it can be told. */
  signal: string | null
  /** The kernel killed the main process for memory. */
  oom: boolean
}

export interface InstanceStats {
  memoryBytes: number
  memoryPeakBytes: number
  cpuNs: number
  pids: number
}
