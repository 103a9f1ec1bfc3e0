import { homedir } from 'node:os'
import { join } from 'node:path'
import { BASE_REPOSITORIES, type RegistryCredential } from '../api/index.ts'
import type { BuildEvent, Builder } from '../builder/index.ts'
import { createLogger, type DataPaths, dataPaths, toAppError } from '../common/index.ts'
import type { Credential, CredentialSource } from '../registry-auth/index.ts'
import type { ApiClient } from './api-client.ts'
import { buildPlaces } from './build-places.ts'
import type { Context } from './command.ts'
import { localPaths } from './connection.ts'
import { duration, type Output } from './output.ts'

/** A credential that ends sooner than this is renewed before a push begins: dependencies may have taken long. */
const RENEW_BEFORE_MS = 5 * 60_000

/** A builder in this process, on the directories of this machine's platform (of the user, where there is none). */
export async function openLocalBuilder(context: Context, credentials: CredentialSource): Promise<Builder> {
  const [{ createBuilder }, { makeNodeBase }] = await Promise.all([
    import('../builder/index.ts'),
    import('../base-images/node/index.ts'),
  ])
  const paths = localPaths(context.env) ?? (await userPaths(context.env))
  const places = buildPlaces(context.env, paths)
  return createBuilder({
    cacheDirectory: places.builder,
    contentDirectory: paths.content,
    sandboxDirectory: places.sandboxes,
    hash: paths.hash,
    credentials,
    // The builder knows the runtimes that it can detect: so far all of them stand on this one base.
    base: (_runtime, progress, signal) => makeNodeBase({ cacheDirectory: places.base, progress, signal }),
    log: createLogger('build', process.stderr),
  })
}

async function userPaths(env: NodeJS.ProcessEnv): Promise<DataPaths> {
  const { mkdir } = await import('node:fs/promises')
  const root = join(env['XDG_CACHE_HOME'] || join(homedir(), '.cache'), 'slipway')
  await mkdir(root, { recursive: true, mode: 0o700 })
  return dataPaths(root)
}

export interface PushAccess {
  /** The platform's registry, `127.0.0.1:5000`, or the one that was named. */
  registry: string
  /** The repository that was named; absent: NAMESPACE/NAME. */
  repository?: string
  tag?: string
  credentials: CredentialSource
}

/** Where a build or push goes: to the platform's registry, or with `to` to another one. */
export async function pushAccessTo(context: Context, namespace: string, to: string | undefined): Promise<PushAccess> {
  if (to === undefined) return pushAccess(context.api(), namespace)
  const { foreignPush } = await import('./foreign-push.ts')
  const target = await foreignPush(context, to)
  const own = await pushAccess(context.api(), namespace)
  return target.registry === own.registry ? { ...target, credentials: own.credentials } : target
}

/**
 * The right to push below `NAMESPACE/` in the platform's registry: a short-lived credential, asked for again when it is about to end. Where the
 * caller administers the platform, one for the repositories of base images too.
 */
export async function pushAccess(api: ApiClient, namespace: string): Promise<PushAccess> {
  const ask = () => api.call('createRegistryCredential', { params: { namespace } })
  let issued = await ask()
  const forBase = async (): Promise<Credential> => {
    try {
      return basic(await api.call('createBaseCredential', {}))
    } catch (thrown) {
      if (toAppError(thrown).code === 'access-denied') return { kind: 'anonymous' }
      throw thrown
    }
  }
  return {
    registry: issued.registry,
    credentials: {
      async for(registry, repository) {
        if (registry !== issued.registry) return { kind: 'anonymous' }
        if (repository.startsWith(`${BASE_REPOSITORIES}/`)) return forBase()
        if (issued.expiresAtMs - Date.now() < RENEW_BEFORE_MS) issued = await ask()
        return basic(issued)
      },
    },
  }
}

function basic({ username, password, expiresAtMs }: RegistryCredential): Credential {
  return { kind: 'basic', username, password, expiresAtMs }
}

/** A line for each step that has ended, and what steps say meanwhile. */
export function tellBuild(output: Output, { step, state, detail, durationMs = 0 }: BuildEvent): void {
  const more = detail === undefined ? '' : `: ${detail}`
  if (state === 'started') return
  if (state === 'note') output.progress(`  ${detail ?? ''}`)
  else output.progress(`${step} ${state} in ${duration(durationMs)}${more}`)
}
