import { type FunctionView, pathOf, type Version } from '../api/index.ts'
import { formatReference, parseDigest } from '../oci/index.ts'

/** Where the platform is reached. */
export interface PublicAddress {
  /** `http://127.0.0.1:8080`, without a slash at the end. */
  url: string
  /** `localhost`: a web function is NAME.NAMESPACE.localhost. */
  webSuffix: string
}

/** A version as the API shows it, with the addresses it is called at. */
export function viewFunction(version: Version, address: PublicAddress): FunctionView {
  const { namespace, function: name, image } = version
  const reference = { ...image, digest: parseDigest(image.digest) }
  return { ...version, name, imageReference: formatReference(reference), ...urlsOf(version, address) }

  function urlsOf({ settings }: Version, { url, webSuffix }: PublicAddress): Pick<FunctionView, 'url' | 'pathUrl'> {
    if (settings.type !== 'web') return { url: `${url}${pathOf('invoke', { namespace, name })}` }
    const { protocol, port } = new URL(url)
    const host = `${name}.${namespace}.${webSuffix}${port === '' ? '' : `:${port}`}`
    return { url: `${protocol}//${host}/`, pathUrl: `${url}/web/${namespace}/${name}/` }
  }
}
