import { AppError, type Logger } from '../../common/index.ts'
import type { ContainerConfig, Credential, Digest, ImageConfig } from '../../oci/index.ts'
import { type DockerApi, engineWords, statusOf } from './docker-api.ts'
import { imageReference } from './docker-container.ts'
import type { PreparedImage, PrepareRequest } from './engine.ts'

/** A line of a pull's progress; longer ones are no progress. */
const MAX_LINE_BYTES = 256 * 1024

/** Makes an image local to the Engine. Where it is already, nobody is asked and no credential is used. */
export async function prepareImage(
  api: DockerApi,
  architecture: string,
  request: PrepareRequest,
  log: Logger,
  signal?: AbortSignal,
): Promise<PreparedImage> {
  const reference = imageReference(request)
  const local = await inspectImage(api, reference, signal)
  if (local !== undefined) return prepared(local, request.digest, architecture, undefined)
  if (request.credential === null) {
    throw new AppError(`image ${reference} is not on this machine`, { code: 'image-not-local', retryable: true })
  }
  const startMs = performance.now()
  await pull(api, request, request.credential, signal)
  const pullMs = performance.now() - startMs
  log.info({ image: reference, pullMs: Math.round(pullMs) }, 'image pulled')
  const found = await inspectImage(api, reference, signal)
  if (found === undefined) throw pullError(reference, 'the Engine reported success but does not have the image')
  return prepared(found, request.digest, architecture, pullMs)
}

interface EngineImage {
  Architecture: string
  Os: string
  Variant?: string
  Created?: string
  Size: number
  Config: ContainerConfig | null
  RootFS: { Layers?: string[] }
}

async function inspectImage(api: DockerApi, reference: string, signal?: AbortSignal): Promise<EngineImage | undefined> {
  const image = api.docker.getImage(reference)
  const found = await api.find(`looking for ${reference}`, () => image.inspect(), { signal })
  return found as EngineImage | undefined
}

/** Throws `image-unsupported` for another platform's image: the Engine itself only warns. */
function prepared(image: EngineImage, digest: Digest, architecture: string, pullMs: number | undefined): PreparedImage {
  if (image.Os !== 'linux' || image.Architecture !== architecture) {
    throw new AppError(
      `image ${digest} is for ${image.Os}/${image.Architecture}; this Docker Engine runs linux/${architecture}`,
      { code: 'image-unsupported', fault: 'user', hint: `build the image for linux/${architecture}` },
    )
  }
  const pulled = pullMs !== undefined
  return { digest, config: imageConfig(image), sizeBytes: image.Size, pulled, pullMs: pullMs ?? 0, unpackMs: 0 }
}

/** The image's configuration in our own shape: only what decides how it runs. */
function imageConfig(image: EngineImage): ImageConfig {
  return {
    architecture: image.Architecture,
    os: image.Os,
    ...(image.Variant ? { variant: image.Variant } : {}),
    ...(image.Created ? { created: image.Created } : {}),
    config: containerConfig(image.Config ?? {}),
    rootfs: { type: 'layers', diff_ids: (image.RootFS.Layers ?? []) as Digest[] },
  }
}

function containerConfig(from: { [K in keyof ContainerConfig]: ContainerConfig[K] | null }): ContainerConfig {
  return {
    ...(from.User ? { User: from.User } : {}),
    ...(from.Env ? { Env: from.Env } : {}),
    ...(from.Entrypoint ? { Entrypoint: from.Entrypoint } : {}),
    ...(from.Cmd ? { Cmd: from.Cmd } : {}),
    ...(from.WorkingDir ? { WorkingDir: from.WorkingDir } : {}),
    ...(from.StopSignal ? { StopSignal: from.StopSignal } : {}),
    ...(from.ExposedPorts ? { ExposedPorts: from.ExposedPorts } : {}),
    ...(from.Labels ? { Labels: from.Labels } : {}),
    ...(from.Volumes ? { Volumes: from.Volumes } : {}),
  }
}

/** Pulls until the Engine's progress ends. A 200 says nothing: what failed later stands in the stream (facts: registry-auth 9). */
async function pull(
  api: DockerApi,
  request: PrepareRequest,
  credential: Credential,
  signal?: AbortSignal,
): Promise<void> {
  const reference = imageReference(request)
  const leftMs = Math.max(0, request.deadlineMs - Date.now())
  const late = AbortSignal.timeout(leftMs)
  const bound = AbortSignal.any([late, ...(signal === undefined ? [] : [signal])])
  const options = {
    fromImage: `${request.registry}/${request.repository}`,
    tag: request.digest,
    authconfig: { base64: registryAuth(request.registry, credential) },
  }
  try {
    const open = (abortSignal: AbortSignal): Promise<NodeJS.ReadableStream> =>
      api.docker.createImage({ ...options, abortSignal })
    const stream = await api.openStream(`pull of ${reference}`, open, bound)
    for await (const error of progressErrors(stream)) throw pullError(reference, error, credential.source)
  } catch (thrown) {
    if (signal?.aborted === true) throw signal.reason
    if (late.aborted) {
      throw new AppError(`pull of ${reference} was not complete within ${leftMs} ms`, {
        code: 'pull-timeout',
        fault: 'dependency',
        retryable: true,
      })
    }
    if (statusOf(thrown) === undefined) throw api.error(`pull of ${reference}`, thrown)
    throw pullError(reference, engineWords((thrown as AppError).cause), credential.source)
  }
}

/** `X-Registry-Auth`: base64url of JSON (Engine API, Authentication). An empty object asks without a credential. */
function registryAuth(registry: string, credential: Credential): string {
  const fields =
    credential.kind === 'basic'
      ? { username: credential.username, password: credential.password, serveraddress: registry }
      : credential.kind === 'bearer'
        ? { registrytoken: credential.token, serveraddress: registry }
        : credential.kind === 'identity'
          ? { identitytoken: credential.token, serveraddress: registry }
          : {}
  return Buffer.from(JSON.stringify(fields)).toString('base64').replaceAll('+', '-').replaceAll('/', '_')
}

/** The errors in a progress stream (JSON, one object a line). Keeps one line at most. */
async function* progressErrors(stream: AsyncIterable<Buffer>): AsyncGenerator<string> {
  let rest = ''
  for await (const chunk of stream) {
    const lines = (rest + chunk.toString('utf8')).split('\n')
    rest = (lines.pop() ?? '').slice(0, MAX_LINE_BYTES)
    for (const line of lines) {
      const error = errorOf(line)
      if (error !== undefined) yield error
    }
  }
  const error = errorOf(rest)
  if (error !== undefined) yield error
}

function errorOf(line: string): string | undefined {
  if (!line.includes('"error')) return undefined
  try {
    const { error, errorDetail } = JSON.parse(line) as { error?: unknown; errorDetail?: { message?: unknown } }
    const said = errorDetail?.message ?? error
    return typeof said === 'string' ? said.slice(0, 4096) : undefined
  } catch {
    return undefined
  }
}

/** Engines have no codes: the kind of failure stands in the sentence, whatever the HTTP status. */
const KINDS: readonly [code: string, pattern: RegExp][] = [
  ['disk-full', /no space left on device|disk quota exceeded/i],
  ['digest-mismatch', /verification failed|unexpected commit digest|digest mismatch/i],
  ['image-not-found', /manifest unknown|name unknown|manifest for .* not found|does not exist|: not found$/i],
  [
    'image-unsupported',
    /no matching manifest|unsupported media type|media type .* (not|un)supported|schema ?(version )?1|image operating system|unknown manifest|missing signature key|unsupported manifest/i,
  ],
]

const USER_FAULTS = ['image-not-found', 'image-unsupported']

function pullError(reference: string, words: string, source?: string): AppError {
  // A refusal of access speaks of an absent repository too ("does not exist or may require 'docker login'").
  const refused = /unauthorized|denied|authentication required|forbidden/i.test(words)
  const code = (refused ? undefined : KINDS.find(([, pattern]) => pattern.test(words))?.[0]) ?? 'pull-failed'
  return new AppError(`pull of ${reference} failed: ${words}`, {
    code,
    fault: USER_FAULTS.includes(code) ? 'user' : 'dependency',
    retryable: code === 'pull-failed' && !refused,
    ...(refused ? { hint: `check ${whose(source)} and its right to pull from this repository` } : {}),
  })
}

function whose(source: string | undefined): string {
  return source === undefined ? 'the credential for this registry' : `the credential from ${source}`
}
