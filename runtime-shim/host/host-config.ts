import { AppError, fits, type Static, Type } from '../../common/index.ts'

/** What the parent tells the supervisor, as JSON in SLIPWAY_HOST_CONFIG. No secret is in it. */
const HostConfig = Type.Object(
  {
    dataDirectory: Type.String(),
    codeDirectory: Type.String(),
    address: Type.String(),
    port: Type.Integer({ minimum: 1, maximum: 65535 }),
    registryPort: Type.Integer({ minimum: 1, maximum: 65535 }),
    engine: Type.Union([Type.Literal('runc'), Type.Literal('docker')]),
    /** `auto`: crun where it can make containers, else runc. */
    ociRuntime: Type.Union([Type.Literal('auto'), Type.Literal('runc'), Type.Literal('crun')]),
    /** What functions are told of the installation (scf-contract 1.6). */
    identity: Type.Object(
      { region: Type.String(), appId: Type.String(), uin: Type.String() },
      { additionalProperties: false },
    ),
    /** Credentials for foreign registries. */
    dockerConfig: Type.Optional(Type.String()),
    parentPid: Type.Integer(),
    /** Sandboxes kept waiting. */
    waitingSandboxes: Type.Integer({ minimum: 0, maximum: 64 }),
  },
  { additionalProperties: false },
)
export type HostConfig = Static<typeof HostConfig>

export function parseHostConfig(text: string | undefined): HostConfig {
  const value: unknown = JSON.parse(text ?? 'null')
  if (fits(HostConfig, value)) return value
  throw new AppError('the supervisor was started without its configuration', {
    code: 'internal',
    hint: 'it is started by "slipway up", not by hand',
  })
}

/** Exit code of a supervisor that cannot work here whatever is tried: its parent does not start another. */
export const EXIT_UNUSABLE = 78

/** Exit code of a supervisor that found another one, which its dead parent left starting or ending: the parent looks again. */
export const EXIT_NOT_ALONE = 75

/** What the supervisor writes once on READINESS_FD. */
export type Readiness = { ready: true } | { ready: false; message: string; hint?: string; code: string }
export const READINESS_FD = 3
