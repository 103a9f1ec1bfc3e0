import type { Namespace, Version } from '../api/index.ts'
import { AppError } from '../common/index.ts'

/** A repository as rights see it: in the local registry (`registry` null) or in another one. */
interface Place {
  registry: string | null
  repository: string
}

/** The repository of an image, as the registry it lies in names it. */
export type ImagePlace = Pick<Version['image'], 'registry' | 'repository'>

/**
 * Whether functions of the namespace may run images of the repository. A namespace owns what lies below its name in the local
 * registry; everything else needs an entry of its `pull` list.
 */
export function mayPull(namespace: Namespace | undefined, image: ImagePlace, localRegistry: string): boolean {
  if (namespace === undefined) return false
  const { registry, repository } = image
  const place = { registry: registry === localRegistry ? null : registry, repository }
  if (place.registry === null && repository.startsWith(`${namespace.name}/`)) return true
  return namespace.pull.some((pattern) => covers(parsePattern(pattern), place))
}

/** Throws `image-not-allowed`. */
export function requirePull(
  name: string,
  namespace: Namespace | undefined,
  image: ImagePlace,
  localRegistry: string,
): void {
  if (mayPull(namespace, image, localRegistry)) return
  const shown = image.registry === localRegistry ? image.repository : `${image.registry}/${image.repository}`
  throw new AppError(`namespace ${name} may not run images of ${image.registry}/${image.repository}`, {
    code: 'image-not-allowed',
    fault: 'user',
    hint: `images of the namespace lie below ${name}/; an administrator allows others: slipway namespace create ${name} --pull ${shown}`,
  })
}

/** As references have it: what comes before the first slash is a host when it has a dot or a port, or is `localhost`; here also `*`. */
function parsePattern(pattern: string): Place {
  const [first = '', ...rest] = pattern.split('/')
  const isHost = rest.length > 0 && (/[.:]/.test(first) || first === 'localhost' || first === '*')
  return isHost ? { registry: first, repository: rest.join('/') } : { registry: null, repository: pattern }
}

function covers(pattern: Place, place: Place): boolean {
  const sameRegistry = pattern.registry === place.registry || (pattern.registry === '*' && place.registry !== null)
  if (!sameRegistry) return false
  if (pattern.repository === '*' || pattern.repository === place.repository) return true
  return pattern.repository.endsWith('/*') && place.repository.startsWith(pattern.repository.slice(0, -1))
}
