import { AppError } from '../common/index.ts'
import { type Digest, parseDigest } from './digest.ts'
import { isDockerHub } from './docker-hub.ts'

/** An image reference, `HOST/NAME[:TAG][@DIGEST]`. */
export interface Reference {
  /** `127.0.0.1:5000`; always present after parsing (a default fills it). */
  registry: string
  /** `default/hello`, without host. */
  repository: string
  tag?: string
  digest?: Digest
}

const NAME = /^[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:\/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*$/
const TAG = /^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$/
const HOST = /^(?:[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?|\[[0-9a-fA-F:.]+\])(?::[0-9]{1,5})?$/

/**
 * Parses `[HOST/]NAME[:TAG][@DIGEST]` (grammar of the distribution specification, docs of `docker pull`).
 * The first component is a host when it has a dot, a colon or is `localhost`; otherwise `defaultRegistry` is taken.
 * Tag and digest may both be present: the digest decides, the tag is kept for people. Throws `reference-invalid`.
 */
export function parseReference(text: string, defaultRegistry: string): Reference {
  const invalid = (why: string): AppError =>
    new AppError(`image reference "${text.slice(0, 300)}" is invalid: ${why}`, {
      code: 'reference-invalid',
      fault: 'user',
      hint: 'write HOST/NAME:TAG or HOST/NAME@sha256:…',
    })
  if (text.length > 600) throw invalid('longer than 600 characters')
  const at = text.indexOf('@')
  const digest = at === -1 ? undefined : parseDigest(text.slice(at + 1))
  const beforeDigest = at === -1 ? text : text.slice(0, at)
  const slash = beforeDigest.indexOf('/')
  const first = slash === -1 ? '' : beforeDigest.slice(0, slash)
  const hasHost = first === 'localhost' || /[.:]/.test(first)
  const registry = hasHost ? first : defaultRegistry
  const nameAndTag = hasHost ? beforeDigest.slice(slash + 1) : beforeDigest
  const colon = nameAndTag.indexOf(':')
  const name = colon === -1 ? nameAndTag : nameAndTag.slice(0, colon)
  // Docker Hub's own images are called by one word, `docker.io/debian` (docs of `docker pull`).
  const repository = isDockerHub(registry) && !name.includes('/') ? `library/${name}` : name
  const tag = colon === -1 ? undefined : nameAndTag.slice(colon + 1)
  if (!HOST.test(registry)) throw invalid('the registry host is malformed')
  if (!NAME.test(repository) || repository.length + registry.length > 254) throw invalid('the name is malformed')
  if (tag !== undefined && !TAG.test(tag)) throw invalid('the tag is malformed')
  return { registry, repository, ...(tag === undefined ? {} : { tag }), ...(digest === undefined ? {} : { digest }) }
}

/** The reference as text; what `parseReference` reads back equal. */
export function formatReference(reference: Reference): string {
  const tag = reference.tag === undefined ? '' : `:${reference.tag}`
  const digest = reference.digest === undefined ? '' : `@${reference.digest}`
  return `${reference.registry}/${reference.repository}${tag}${digest}`
}
