import { type Shape, type Static, Type } from '../../common/index.ts'
import { Credential } from '../../oci/index.ts'

/**
 * The port between server and supervisor: newline-separated JSON over the unix socket `run/host.sock`.
 * The server asks (`id`, `op`, `args`), the supervisor answers (`id`, `ok` or `error`) and tells events without being asked.
 * Descriptors travel beside it on the SEQPACKET socket `run/host-fd.sock`, each with the tag that the answer names.
 * Both sides check every message against these schemas; a line is at most MAX_LINE_BYTES.
 */
export const PORT_VERSION = 1
export const MAX_LINE_BYTES = 1024 * 1024
/** The listening socket of the gateway in the server process. */
export const GATEWAY_FD = 3
export const SILENCE_MS = 5_000

const object = <T extends Record<string, Shape>>(properties: T) =>
  Type.Object(properties, { additionalProperties: false })
const text = (maxLength: number) => Type.String({ maxLength })
const count = Type.Integer({ minimum: 0 })
const instanceId = Type.String({ pattern: '^[0-9a-f]{16}$' })
const digest = Type.String({ pattern: '^sha256:[0-9a-f]{64}$' })
const nothing = object({})

/** What the server knows about an instance and the supervisor only keeps: it comes back unchanged in `list`. */
const owner = object({
  namespace: text(64),
  function: text(64),
  version: text(64),
  purpose: text(32),
  /** The one call that the instance was made for: a job. */
  requestId: Type.Optional(text(36)),
})

const createArgs = object({
  registry: text(300),
  repository: text(300),
  digest,
  command: Type.Optional(Type.Array(text(131072), { maxItems: 1024 })),
  args: Type.Optional(Type.Array(text(131072), { maxItems: 1024 })),
  env: Type.Record(text(256), text(131072)),
  memoryBytes: count,
  cpus: Type.Number({ exclusiveMinimum: 0, maximum: 1024 }),
  pids: Type.Integer({ minimum: 32, maximum: 1024 }),
  openFiles: Type.Integer({ minimum: 64 }),
  tmpBytes: count,
  graceMs: count,
  owner,
  /** Names this creation: asked again with the same key, the instance that was made is the answer. */
  key: Type.Optional(text(64)),
})

/** All that the server has to know; it reads no file and no variable for it. No secret is in it. */
const serverConfig = object({
  dataRoot: text(4096),
  /** What the gateway listens on (descriptor GATEWAY_FD, inherited). */
  address: text(64),
  port: count,
  registryHost: text(300),
  registryRealm: text(300),
  adminTokenSha256: text(64),
  leaseFile: text(4096),
  /** What functions are told of the installation. */
  identity: object({ region: text(256), appId: text(256), uin: text(256) }),
  generation: count,
})

const exit = object({ code: Type.Integer(), signal: Type.Union([text(16), Type.Null()]), oom: Type.Boolean() })
const instanceState = Type.Union([
  Type.Literal('creating'),
  Type.Literal('created'),
  Type.Literal('starting'),
  Type.Literal('running'),
  Type.Literal('frozen'),
  Type.Literal('ended'),
])
const instanceInfo = object({
  id: instanceId,
  state: instanceState,
  owner,
  digest,
  memoryBytes: count,
  createdAtMs: count,
  startedAtMs: Type.Union([count, Type.Null()]),
  exit: Type.Union([exit, Type.Null()]),
  /** A call of an earlier server generation may still run in it until then: it is never given another. */
  leasedUntilMs: Type.Union([count, Type.Null()]),
})

/** Each operation: what it takes and what it answers. */
export const OPERATIONS = {
  /** First message of a connection. Refused with `port-version` when the versions differ. The answer is the server's whole configuration. */
  hello: {
    args: object({ version: Type.Integer(), generation: count }),
    result: object({ version: Type.Integer(), supervisorPid: count, engine: text(32), server: serverConfig }),
  },
  /** Nothing heard from the server for SILENCE_MS counts as dead: it is killed and replaced. */
  ping: { args: nothing, result: nothing },
  /** The server answers calls: a first start of the platform is complete once registry and server are. */
  ready: { args: object({ registryCaPem: text(65536) }), result: nothing },
  /** Without a credential nothing is fetched: `image-not-local` when the image is not here. */
  prepare: {
    args: object({
      registry: text(300),
      repository: text(300),
      digest,
      credential: Type.Union([Credential, Type.Null()]),
      timeoutMs: count,
      /** Names the download, by the id of its credential. Asked again with the same name while it goes on, it is joined. */
      download: Type.Optional(text(64)),
    }),
    result: object({
      digest,
      sizeBytes: count,
      pulled: Type.Boolean(),
      pullMs: Type.Number(),
      unpackMs: Type.Number(),
      architecture: text(64),
      os: text(64),
      user: text(256),
      entrypoint: Type.Array(text(131072)),
      cmd: Type.Array(text(131072)),
    }),
  },
  /** Names of the downloads under way: those of an earlier server go on without it. */
  downloads: { args: nothing, result: object({ downloads: Type.Array(text(64)) }) },
  /** Ends a download at once: who waits is answered `pull-cancelled`. One that is not known has ended already. */
  cancelDownload: { args: object({ download: text(64), reason: text(200) }), result: nothing },
  /** Needs the image to be local: `image-not-local` otherwise. With a key it may be repeated, also at the next supervisor. */
  create: { args: createArgs, result: object({ id: instanceId, createMs: Type.Number() }) },
  /**
   * Starts the process and dials until it listens; the connected socket travels beside the answer with tag `descriptor`.
   * Fails with `port-binding-failed` (nobody listens within the time; the instance is stopped), `instance-exited`, `instance-start-failed`.
   */
  start: {
    args: object({ id: instanceId, port: Type.Integer({ minimum: 1, maximum: 65535 }), listenTimeoutMs: count }),
    result: object({ startMs: Type.Number(), listenMs: Type.Number(), descriptor: count }),
  },
  /** Starts the process and waits for no listener: a job. One that runs already is left alone. Fails as `start` does. */
  run: { args: object({ id: instanceId }), result: object({ startMs: Type.Number() }) },
  /** Another connected socket. `refused` and `busy` are answers: nothing was sent, so the caller may try elsewhere. */
  dial: {
    args: object({ id: instanceId, port: Type.Integer({ minimum: 1, maximum: 65535 }) }),
    result: object({
      outcome: Type.Union([
        Type.Literal('connected'),
        Type.Literal('refused'),
        Type.Literal('busy'),
        Type.Literal('gone'),
      ]),
      descriptor: Type.Union([count, Type.Null()]),
    }),
  },
  freeze: { args: object({ id: instanceId }), result: nothing },
  thaw: { args: object({ id: instanceId }), result: nothing },
  /** SIGTERM, grace, SIGKILL. Answers when the process is gone. */
  stop: { args: object({ id: instanceId, graceMs: count, reason: text(200) }), result: nothing },
  stats: {
    args: object({ id: instanceId }),
    result: object({
      memoryBytes: count,
      memoryPeakBytes: count,
      cpuNs: Type.Number(),
      pids: count,
      oomKills: count,
    }),
  },
  /**
   * Opens a file of the instance's output for reading from its start. Files are numbered from 1 and keep their number when they
   * are rotated; `rotated` 0 asks for the newest. The answer names the number; no descriptor: there is no such file.
   */
  output: {
    args: object({ id: instanceId, rotated: count }),
    result: object({ descriptor: Type.Union([count, Type.Null()]), rotated: count }),
  },
  /** Starts a new output file; the answer is the number of the one that was moved away and is complete now. */
  rotate: { args: object({ id: instanceId }), result: object({ rotated: count }) },
  /** The server has copied everything of rotated files up to this number: they may be unlinked. */
  forgetOutput: { args: object({ id: instanceId, rotated: count }), result: nothing },
  /** The server has copied all output of an ended instance: its directory may go. */
  remove: { args: object({ id: instanceId }), result: nothing },
  /**
   * The local registry serves, serves without taking anything (`read-only`), or does that while blobs that no manifest refers to are
   * removed (`collect`). Answers when that is so; `collect` when it is over. Fails with `registry-not-ready`, `registry-collection-failed`.
   */
  registry: {
    args: object({ mode: Type.Union([Type.Literal('serve'), Type.Literal('read-only'), Type.Literal('collect')]) }),
    result: nothing,
  },
  /** A file that names what the local registry holds, to read from its start (`registry-files.ts`). */
  registryFiles: { args: nothing, result: object({ descriptor: count }) },
  /** What the docker configuration that the platform was started with says of a registry; null: nothing, or there is none. */
  findCredential: {
    args: object({
      registry: text(300),
      repository: text(300),
      purpose: Type.Union([Type.Literal('pull'), Type.Literal('push')]),
    }),
    result: object({ credential: Type.Union([Credential, Type.Null()]) }),
  },
  /** The platform's own processes, for `slipway status`. */
  processes: {
    args: nothing,
    result: object({
      processes: Type.Array(object({ role: text(32), pid: count })),
      capabilities: Type.Record(text(32), Type.Boolean()),
    }),
  },
  list: { args: nothing, result: object({ instances: Type.Array(instanceInfo) }) },
} as const

/** What the supervisor tells without being asked. */
export const EVENTS = {
  exit: object({ id: instanceId, exit }),
  downloadEnded: object({ download: text(64) }),
  /** The platform ends: finish what is in flight, then exit. */
  shutdown: object({ graceMs: count }),
} as const

const plainError = object({
  code: text(64),
  message: text(65536),
  fault: Type.Union([Type.Literal('user'), Type.Literal('system'), Type.Literal('dependency')]),
  retryable: Type.Boolean(),
  hint: Type.Optional(text(4096)),
  details: Type.Record(Type.String(), Type.Unknown()),
})

export const REQUEST = object({ id: count, op: text(32), args: Type.Unknown() })
export const RESPONSE = object({
  id: count,
  ok: Type.Optional(Type.Unknown()),
  error: Type.Optional(plainError),
})
export const EVENT = object({ event: text(32), data: Type.Unknown() })

export type Operation = keyof typeof OPERATIONS
export type Args<O extends Operation> = Static<(typeof OPERATIONS)[O]['args']>
export type Result<O extends Operation> = Static<(typeof OPERATIONS)[O]['result']>
export type EventName = keyof typeof EVENTS
export type EventData<E extends EventName> = Static<(typeof EVENTS)[E]>
export type ServerConfig = Static<typeof serverConfig>
export type InstanceInfo = Static<typeof instanceInfo>
export type InstanceOwner = Static<typeof owner>
