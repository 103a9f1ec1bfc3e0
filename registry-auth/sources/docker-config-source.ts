import { open } from 'node:fs/promises'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { AppError, errnoOf, messageOf } from '../../common/index.ts'
import type { Credential } from '../../oci/index.ts'
import { askCredentialHelper, type HelperOptions } from './credential-helper.ts'
import { lookUp } from './docker-config.ts'
import type { CredentialRequest, NamedSource } from './source.ts'

const MAX_FILE_BYTES = 1024 * 1024

/** A configuration of docker or podman: a file, or a text that the environment brings. */
export type ConfigPlace = { file: string } | { text: string; from: string }

/**
 * Where docker and podman keep what their `login` was told, for this user: the document in `DOCKER_AUTH_CONFIG`, the file of
 * `REGISTRY_AUTH_FILE`, docker's, podman's of this session, podman's lasting one.
 */
export function userConfigPlaces(env: NodeJS.ProcessEnv, home: string = homedir()): ConfigPlace[] {
  const set = (name: string): string | undefined => (env[name] === '' ? undefined : env[name])
  const text = set('DOCKER_AUTH_CONFIG')
  const named = set('REGISTRY_AUTH_FILE')
  const session = set('XDG_RUNTIME_DIR')
  return [
    ...(text === undefined ? [] : [{ text, from: 'DOCKER_AUTH_CONFIG' }]),
    ...(named === undefined ? [] : [{ file: named }]),
    { file: join(set('DOCKER_CONFIG') ?? join(home, '.docker'), 'config.json') },
    ...(session === undefined ? [] : [{ file: join(session, 'containers/auth.json') }]),
    { file: join(set('XDG_CONFIG_HOME') ?? join(home, '.config'), 'containers/auth.json') },
  ]
}

/**
 * Credentials that docker and podman keep, read anew each time: a login in another window counts at once.
 * Throws `docker-config-invalid`, `credential-helper-failed`.
 */
export class DockerConfigSource implements NamedSource {
  readonly name = 'docker-config'
  readonly #places: readonly ConfigPlace[]
  readonly #helper: HelperOptions

  constructor(places: readonly ConfigPlace[], helper: HelperOptions) {
    this.#places = places
    this.#helper = helper
  }

  async find(request: CredentialRequest, signal?: AbortSignal): Promise<Credential | undefined> {
    for (const place of this.#places) {
      const found = await this.#findIn(place, request, signal)
      if (found !== undefined) return found
    }
    return undefined
  }

  async #findIn(
    place: ConfigPlace,
    { registry, repository }: CredentialRequest,
    signal: AbortSignal | undefined,
  ): Promise<Credential | undefined> {
    const where = 'file' in place ? place.file : place.from
    const text = 'file' in place ? await readFileBounded(place.file) : place.text
    if (text === undefined) return undefined
    const answer = lookUp(text, where, registry, repository)
    if (answer === undefined) return undefined
    if (answer.kind === 'credential') return { ...answer.credential, source: `${this.name} ${where}` }
    const { suffix, serverUrl, fallback } = answer
    const helped = await askCredentialHelper(suffix, serverUrl, this.#helper, signal)
    if (helped !== undefined) return { ...helped, source: `docker-credential-${suffix} (${where})` }
    return fallback === undefined ? undefined : { ...fallback, source: `${this.name} ${where}` }
  }
}

/** The text of a file; undefined where there is none. */
async function readFileBounded(path: string): Promise<string | undefined> {
  const unreadable = (why: string): AppError =>
    new AppError(`the credentials in ${path} cannot be read: ${why}`, {
      code: 'docker-config-invalid',
      fault: 'user',
      hint: 'see that the file is a small regular file that this user may read',
    })
  try {
    await using file = await open(path)
    const { size } = await file.stat()
    if (size > MAX_FILE_BYTES) throw unreadable(`it has ${size} bytes, at most ${MAX_FILE_BYTES} are read`)
    return await file.readFile('utf8')
  } catch (thrown) {
    if (errnoOf(thrown) === 'ENOENT' || errnoOf(thrown) === 'ENOTDIR') return undefined
    throw thrown instanceof AppError ? thrown : unreadable(messageOf(thrown))
  }
}
