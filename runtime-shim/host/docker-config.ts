import type { Credential } from '../../oci/index.ts'
import type { CredentialRequest, NamedSource } from '../../registry-auth/sources/index.ts'

/**
 * The docker configuration that `up --docker-config` names. It is read here, not in the server: the file belongs to whoever started
 * the platform, and its helpers are programs. Loaded when a foreign registry is first asked for: most platforms never do.
 */
export function platformDockerConfig(
  file: string | undefined,
): (request: CredentialRequest) => Promise<Credential | undefined> {
  let source: NamedSource | undefined
  return async (request) => {
    if (file === undefined) return undefined
    const { DockerConfigSource } = await import('../../registry-auth/sources/index.ts')
    source ??= new DockerConfigSource([{ file }], { env: process.env })
    return source.find(request)
  }
}
