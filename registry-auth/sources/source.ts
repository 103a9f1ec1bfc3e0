import { type Credential, isDockerHub } from '../../oci/index.ts'
import type { Purpose } from '../credential.ts'

/** What a credential is wanted for. `registry` as references write it: `127.0.0.1:5000`, `docker.io`. */
export interface CredentialRequest {
  registry: string
  repository: string
  purpose: Purpose
}

/** One place where credentials may lie. */
export interface NamedSource {
  /** As errors, `registry test` and the ledger show it: `login`, `ecr eu-central-1`. */
  readonly name: string
  /**
   * The credential for this registry, with its own `source` where the place has several; undefined where it has none.
   * A place that cannot be asked throws: a broken one is never taken for an empty one.
   */
  find(request: CredentialRequest, signal?: AbortSignal): Promise<Credential | undefined>
}

/** One name for each registry: lower case, one for Docker Hub. */
export function canonicalRegistry(host: string): string {
  return isDockerHub(host) ? 'docker.io' : host.toLowerCase()
}
