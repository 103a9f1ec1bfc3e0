import type { ColdStart, Version } from '../../api/index.ts'
import { AppError, toAppError } from '../../common/index.ts'
import type { HostClient } from '../host/host-client.ts'
import type { PullCredentials } from '../invoke/runtime.ts'
import { FUNCTION_PORT } from './connections.ts'
import { instanceLimits, STOP_GRACE_MS } from './limits.ts'

export type Phases = ColdStart['phases']

export interface StartContext {
  host: HostClient
  credentials: PullCredentials
  /** Platform variables of the installation. */
  identity: InstallationIdentity
}

/** What functions are told of the installation they run in (facts: scf-contract 1.6). */
export interface InstallationIdentity {
  region: string
  appId: string
  uin: string
}

/** The documented time a server has to listen, whatever `initTimeout` says (scf-contract 1.3). */
const LISTEN_TIMEOUT_MS = 30_000

/** Makes an instance up to the point before its process runs. `deadlineMs` bounds pull and creation (`initTimeout`). */
export async function createInstance(
  context: StartContext,
  version: Version,
  reason: string,
  deadlineMs: number,
  phases: Phases,
): Promise<string> {
  const create = async (): Promise<string> => {
    const answer = await context.host.call('create', createArgs(context, version, reason), untilDeadline(deadlineMs))
    phases.create = answer.createMs
    return answer.id
  }
  try {
    return await create()
  } catch (thrown) {
    if (toAppError(thrown).code !== 'image-not-local') throw asInitTimeout(thrown, deadlineMs)
  }
  await pull(context, version, deadlineMs, phases)
  try {
    return await create()
  } catch (thrown) {
    throw asInitTimeout(thrown, deadlineMs)
  }
}

/** One credential, made for this download and refused from its end. */
async function pull(context: StartContext, version: Version, deadlineMs: number, phases: Phases): Promise<void> {
  const began = performance.now()
  const { registry, repository, platformDigest } = version.image
  const issued = context.credentials.issue(version, deadlineMs)
  phases.credential = performance.now() - began
  try {
    const answer = await context.host.call(
      'prepare',
      {
        registry,
        repository,
        digest: platformDigest,
        credential: issued.credential,
        timeoutMs: Math.max(1, Math.ceil(deadlineMs - Date.now())),
      },
      untilDeadline(deadlineMs + 2_000),
    )
    phases.pull = answer.pullMs
    phases.unpack = answer.unpackMs
  } finally {
    issued.end()
  }
}

/** Runs the process of a created instance until it listens; answers the descriptor of the connection that proved it. */
export async function startInstance(
  context: StartContext,
  id: string,
  deadlineMs: number,
  phases: Phases,
): Promise<number> {
  const left = Math.max(1, Math.ceil(deadlineMs - Date.now()))
  const listenTimeoutMs = Math.min(LISTEN_TIMEOUT_MS, left)
  try {
    const answer = await context.host.call(
      'start',
      { id, port: FUNCTION_PORT, listenTimeoutMs },
      AbortSignal.timeout(listenTimeoutMs + 10_000),
    )
    phases.start = answer.startMs
    phases.listen = answer.listenMs
    return context.host.takeDescriptor(answer.descriptor)
  } catch (thrown) {
    const error = toAppError(thrown)
    if (error.code === 'port-binding-failed' && listenTimeoutMs < LISTEN_TIMEOUT_MS)
      throw asInitTimeout(thrown, Date.now())
    throw thrown
  }
}

function untilDeadline(deadlineMs: number): AbortSignal {
  return AbortSignal.timeout(Math.max(1, Math.ceil(deadlineMs - Date.now())))
}

function asInitTimeout(thrown: unknown, deadlineMs: number): unknown {
  const timedOut = thrown instanceof DOMException && thrown.name === 'TimeoutError'
  const late = toAppError(thrown).code === 'port-binding-failed'
  if (!timedOut && !(late && Date.now() >= deadlineMs)) return thrown
  return new AppError('the container did not initialise within initTimeout', {
    code: 'init-timeout',
    fault: 'user',
    hint: 'raise initTimeout or make the image start faster',
    cause: thrown,
  })
}

function createArgs(context: StartContext, version: Version, reason: string) {
  const { settings, image } = version
  return {
    registry: image.registry,
    repository: image.repository,
    digest: image.platformDigest,
    ...(settings.command === undefined ? {} : { command: settings.command }),
    ...(settings.args === undefined ? {} : { args: settings.args }),
    env: { ...settings.env, ...platformEnvironment(context.identity, version) },
    ...instanceLimits(settings.memory),
    graceMs: STOP_GRACE_MS,
    owner: {
      namespace: version.namespace,
      function: version.function,
      version: `${version.version}@${version.revision}`,
      purpose: reason,
    },
  }
}

/** The eight variables of scf-contract 1.6; the user's own cannot have these names. */
function platformEnvironment(identity: InstallationIdentity, version: Version): Record<string, string> {
  return {
    TENCENTCLOUD_RUNENV: 'SCF',
    USER_CODE_ROOT: '/var/user/',
    USER: 'qcloud',
    SCF_FUNCTIONNAME: version.function,
    SCF_FUNCTIONVERSION: version.version,
    TENCENTCLOUD_REGION: identity.region,
    TENCENTCLOUD_APPID: identity.appId,
    TENCENTCLOUD_UIN: identity.uin,
    PORT: String(FUNCTION_PORT),
  }
}
