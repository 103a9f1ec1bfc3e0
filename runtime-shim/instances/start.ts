import { randomUUID } from 'node:crypto'
import type { Version } from '../../api/index.ts'
import { AppError, toAppError } from '../../common/index.ts'
import type { HostClient } from '../host/host-client.ts'
import { FUNCTION_PORT } from './connections.ts'
import type { Downloads } from './downloads.ts'
import { instanceLimits, STOP_GRACE_MS } from './limits.ts'
import type { StartBudget } from './start-budget.ts'
import type { StartTrace } from './trace.ts'

export interface StartContext {
  host: HostClient
  downloads: Downloads
  starts: StartBudget
  /** Platform variables of the installation. */
  identity: InstallationIdentity
}

/** What functions are told of the installation they run in (facts: scf-contract 1.6). */
export interface InstallationIdentity {
  region: string
  appId: string
  uin: string
}

/** Why an instance is made, and for a job the one call that it is made for. */
export interface Purpose {
  reason: 'call' | 'prewarm' | 'provisioned' | 'job'
  requestId?: string
  /** Laid over everything else of the environment. */
  env?: Record<string, string>
}

/** The documented time a server has to listen, whatever `initTimeout` says (scf-contract 1.3). */
const LISTEN_TIMEOUT_MS = 30_000

/**
 * Makes an instance up to the point before its process runs. `deadlineMs` bounds pull and creation (`initTimeout`). The namespace's right to
 * the image is checked first: with every blob local nothing else would ask for it.
 */
export async function createInstance(
  context: StartContext,
  version: Version,
  purpose: Purpose,
  deadlineMs: number,
  trace: StartTrace,
): Promise<string> {
  context.downloads.check(version)
  const args = createArgs(context, version, purpose)
  const create = async (): Promise<string> => {
    const answer = await context.host.call('create', args, untilDeadline(deadlineMs))
    trace.phases.create = answer.createMs
    return answer.id
  }
  try {
    return await create()
  } catch (thrown) {
    if (toAppError(thrown).code !== 'image-not-local') throw asInitTimeout(thrown, deadlineMs)
  }
  const became = await context.downloads.wait(version, deadlineMs, trace)
  try {
    const id = await create()
    became(id)
    return id
  } catch (thrown) {
    throw asInitTimeout(thrown, deadlineMs)
  }
}

/** Runs the process of a created instance until it listens; answers the descriptor of the connection that proved it. */
export async function startInstance(
  context: StartContext,
  id: string,
  deadlineMs: number,
  trace: StartTrace,
): Promise<number> {
  const left = Math.max(1, Math.ceil(deadlineMs - Date.now()))
  const listenTimeoutMs = Math.min(LISTEN_TIMEOUT_MS, left)
  try {
    const answer = await context.host.call(
      'start',
      { id, port: FUNCTION_PORT, listenTimeoutMs },
      AbortSignal.timeout(listenTimeoutMs + 10_000),
    )
    trace.phases.start = answer.startMs
    trace.phases.listen = answer.listenMs
    return context.host.takeDescriptor(answer.descriptor)
  } catch (thrown) {
    const error = toAppError(thrown)
    if (error.code === 'port-binding-failed' && listenTimeoutMs < LISTEN_TIMEOUT_MS)
      throw asInitTimeout(thrown, Date.now())
    throw thrown
  }
}

/** Runs the process of a created instance that listens on nothing. May be repeated. */
export async function runInstance({ host }: StartContext, id: string, { phases }: StartTrace): Promise<void> {
  phases.start = (await host.call('run', { id })).startMs
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

function createArgs(context: StartContext, version: Version, { reason, requestId, env = {} }: Purpose) {
  const { settings, image } = version
  return {
    registry: image.registry,
    repository: image.repository,
    digest: image.platformDigest,
    ...(settings.command === undefined ? {} : { command: settings.command }),
    ...(settings.args === undefined ? {} : { args: settings.args }),
    env: { ...settings.env, ...platformEnvironment(context.identity, version), ...env },
    ...instanceLimits(settings.memory),
    graceMs: STOP_GRACE_MS,
    owner: {
      namespace: version.namespace,
      function: version.function,
      version: `${version.version}@${version.revision}`,
      purpose: reason,
      ...(requestId === undefined ? {} : { requestId }),
    },
    key: requestId ?? randomUUID(),
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
