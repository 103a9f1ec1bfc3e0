import { AppError } from '../../common/index.ts'
import type { Credential } from '../../oci/index.ts'
import { canonicalRegistry } from './source.ts'

/** What a configuration of docker or podman says of one repository: a credential, or the helpers that know it. */
export type ConfigAnswer =
  | { kind: 'credential'; credential: Credential }
  /** `fallback`: what the file itself holds, for when the helper knows nothing. */
  | { kind: 'helper'; suffix: string; serverUrl: string; fallback: Credential | undefined }

interface ConfigFile {
  auths: Map<string, object>
  credHelpers: Map<string, string>
  credsStore: string | undefined
}

/** Docker Hub's key in docker's files, and what its helpers are asked for. */
const HUB_SERVER_URL = 'https://index.docker.io/v1/'

/**
 * Looks a repository up in the text of a `config.json` or `auth.json` (facts of both formats: docker/cli configfile, containers-auth.json(5)).
 * A helper for the registry wins; then a key that names the repository or a part of its path, the longest first; then the common
 * helper; then the registry's own key. Undefined: it says nothing. Throws `docker-config-invalid`, naming `where`.
 */
export function lookUp(text: string, where: string, registry: string, repository: string): ConfigAnswer | undefined {
  const file = readConfig(text, where)
  const host = canonicalRegistry(registry)
  const serverUrl = host === 'docker.io' ? HUB_SERVER_URL : host
  const own = credentialOf(file.auths.get(host), `${where}, auths of ${host}`)
  const helper = file.credHelpers.get(host)
  if (helper !== undefined) return { kind: 'helper', suffix: helper, serverUrl, fallback: undefined }
  for (const key of narrowerKeys(host, repository)) {
    const credential = credentialOf(file.auths.get(key), `${where}, auths of ${key}`)
    if (credential !== undefined) return { kind: 'credential', credential }
  }
  if (file.credsStore !== undefined) return { kind: 'helper', suffix: file.credsStore, serverUrl, fallback: own }
  return own === undefined ? undefined : { kind: 'credential', credential: own }
}

/** `host/a/b/c`, `host/a/b`, `host/a`. */
function narrowerKeys(host: string, repository: string): string[] {
  const parts = repository.split('/')
  return parts.map((_, at) => [host, ...parts.slice(0, parts.length - at)].join('/'))
}

function readConfig(text: string, where: string): ConfigFile {
  let document: unknown
  try {
    document = JSON.parse(text)
  } catch {
    throw invalid(where, 'it is no JSON')
  }
  if (!isObject(document)) throw invalid(where, 'it is no object')
  const { auths = {}, credHelpers = {}, credsStore } = document
  if (!isObject(auths) || !isObject(credHelpers)) throw invalid(where, 'auths and credHelpers must be objects')
  if (credsStore !== undefined && typeof credsStore !== 'string') throw invalid(where, 'credsStore must be a text')
  return {
    auths: new Map(Object.entries(auths).flatMap(([key, value]) => (isObject(value) ? [[keyOf(key), value]] : []))),
    credHelpers: new Map(
      Object.entries(credHelpers).flatMap(([key, value]) => (typeof value === 'string' ? [[keyOf(key), value]] : [])),
    ),
    credsStore: credsStore === '' ? undefined : credsStore,
  }
}

/** docker writes hosts and addresses of the old API, `https://r.example/v1/`; podman also paths, `r.example/team`. */
function keyOf(key: string): string {
  const [, host = '', path = ''] = /^(?:https?:\/\/)?([^/]*)(.*)$/.exec(key) ?? []
  const own = /^https?:\/\//.test(key) ? path.replace(/^\/v[12]\/?$/, '') : path
  return `${canonicalRegistry(host)}${own.replace(/\/$/, '')}`
}

/** An empty entry is a mark of docker's that a helper holds it. */
function credentialOf(entry: object | undefined, where: string): Credential | undefined {
  if (entry === undefined) return undefined
  const text = (name: string): string => {
    const value: unknown = Reflect.get(entry, name)
    return typeof value === 'string' ? value : ''
  }
  if (text('identitytoken') !== '') return { kind: 'identity', token: text('identitytoken') }
  if (text('registrytoken') !== '') return { kind: 'bearer', token: text('registrytoken') }
  if (text('auth') === '') {
    const plain = text('username') !== '' && text('password') !== ''
    return plain ? { kind: 'basic', username: text('username'), password: text('password') } : undefined
  }
  const decoded = Buffer.from(text('auth'), 'base64').toString('utf8').replace(/\0+$/, '')
  const colon = decoded.indexOf(':')
  if (colon <= 0) throw invalid(where, 'auth is not the base64 of USER:PASSWORD')
  return { kind: 'basic', username: decoded.slice(0, colon), password: decoded.slice(colon + 1) }
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function invalid(where: string, why: string): AppError {
  return new AppError(`the credentials in ${where} cannot be read: ${why}`, {
    code: 'docker-config-invalid',
    fault: 'user',
    hint: 'mend the file, or log in again with docker login or podman login',
  })
}
