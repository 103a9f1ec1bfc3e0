import type { RegistryStep } from '../../api/index.ts'
import { AppError, toAppError } from '../../common/index.ts'
import {
  type Credential,
  choosePlatform,
  type Exchange,
  type FetchedManifest,
  machinePlatform,
  type Reference,
  RegistryClient,
} from '../../oci/index.ts'

export interface LookOptions {
  registry: string
  /** Throws what its source says. */
  credential: () => Promise<Credential>
  /** What is looked at beside the registry itself; absent for a login. */
  reference?: Reference
  /** Also start an upload, and cancel it. */
  push?: boolean
  signal: AbortSignal
}

/**
 * Accesses a registry as a pull would, one step at a time, and tells each: what was asked, what was answered, what is missing.
 * The steps end with the first that fails. No secret is in them.
 */
export async function* lookAtRegistry(options: LookOptions): AsyncGenerator<RegistryStep, boolean> {
  const { registry, reference, signal } = options
  const steps = new Steps()
  const credential = await steps.run('credential', options.credential, describeCredential)
  yield steps.last
  if (credential === undefined) return false
  const onExchange = (exchange: Exchange): void => void steps.exchanges.push(exchange)
  const client = new RegistryClient({ registry, credential, signal, onExchange })
  try {
    await steps.run(
      'ping',
      () => client.ping(),
      () => `${registry} answers and takes the credential`,
    )
    yield steps.last
    if (reference === undefined || !steps.last.ok) return steps.last.ok
    for (const work of [lookAtManifest, lookAtBlob, ...(options.push === true ? [tryPush] : [])]) {
      await work(steps, client, reference)
      yield steps.last
      if (!steps.last.ok) return false
    }
    return true
  } finally {
    await client.close()
  }
}

async function lookAtManifest(steps: Steps, client: RegistryClient, reference: Reference): Promise<void> {
  const name = reference.digest ?? reference.tag ?? 'latest'
  const { repository } = reference
  await steps.run(
    'manifest',
    () => client.findManifest(repository, name),
    () => `${repository} has ${name}`,
  )
}

async function lookAtBlob(steps: Steps, client: RegistryClient, reference: Reference): Promise<void> {
  const { repository } = reference
  await steps.run(
    'blob',
    async () => {
      const config = configOf(await platformManifest(client, repository, await client.resolve(reference)))
      if (await client.hasBlob(repository, config)) return config
      throw new AppError(`${repository} lacks the configuration ${config.digest} that its manifest names`, {
        code: 'image-not-found',
        fault: 'dependency',
        hint: 'push the image again',
      })
    },
    ({ digest }) => `its configuration ${digest} can be read`,
  )
}

async function tryPush(steps: Steps, client: RegistryClient, { repository }: Reference): Promise<void> {
  await steps.run(
    'push',
    () => client.checkPush(repository),
    () => `an upload to ${repository} was started and given up`,
  )
}

async function platformManifest(
  client: RegistryClient,
  repository: string,
  fetched: FetchedManifest,
): Promise<FetchedManifest> {
  if (fetched.document.kind !== 'index') return fetched
  const what = `image ${repository}@${fetched.descriptor.digest}`
  return client.getManifest(repository, choosePlatform(fetched.document.index, machinePlatform(), what))
}

function configOf({ document, descriptor }: FetchedManifest) {
  return document.kind === 'index' ? descriptor : document.manifest.config
}

function describeCredential({ kind, source = 'nobody', ...rest }: Credential): string {
  const { expiresAtMs } = rest
  const what = {
    anonymous: 'no credential: asks as nobody',
    basic: `a user name and password from ${source}`,
    bearer: `a token from ${source}`,
    identity: `a refresh token from ${source}`,
  }[kind]
  return expiresAtMs === undefined ? what : `${what}, until ${new Date(expiresAtMs).toISOString()}`
}

/** Runs one step after the other and keeps what the last one came to. */
class Steps {
  readonly exchanges: Exchange[] = []
  last: RegistryStep = { step: '', ok: true, detail: '', durationMs: 0, exchanges: [] }

  async run<T>(step: string, work: () => Promise<T>, describe: (result: T) => string): Promise<T | undefined> {
    const beganMs = performance.now()
    const done = (part: Pick<RegistryStep, 'ok' | 'detail' | 'error'>): void => {
      const durationMs = Math.round(performance.now() - beganMs)
      this.last = { step, ...part, durationMs, exchanges: this.exchanges.splice(0) }
    }
    try {
      const result = await work()
      done({ ok: true, detail: describe(result) })
      return result
    } catch (thrown) {
      done({ ok: false, ...failure(toAppError(thrown)) })
      return undefined
    }
  }
}

function failure({ message, code, hint }: AppError): Pick<RegistryStep, 'detail' | 'error'> {
  return { detail: message, error: hint === undefined ? { code } : { code, hint } }
}
