import type { Credential, CredentialSource, TemporaryCredentials } from '../registry-auth/index.ts'
import type { PullCredentials } from '../runtime-shim/index.ts'

const LOOK_MS = 60_000

/** One credential for one download: a temporary one for the local registry, none for others until their sources are settings. */
export function pullCredentials(temporary: TemporaryCredentials, localRegistry: string): PullCredentials {
  return {
    issue: ({ image }, deadlineMs) => {
      if (image.registry !== localRegistry) return { credential: { kind: 'anonymous' }, end: () => undefined }
      const issued = temporary.issuePull(image.repository, deadlineMs)
      const { username, password } = issued
      const credential: Credential = { kind: 'basic', username, password, expiresAtMs: Math.ceil(deadlineMs) }
      return { credential, end: () => issued.end() }
    },
  }
}

/** For looking at an image when it is deployed: reads manifests only. */
export function lookCredentials(temporary: TemporaryCredentials, localRegistry: string): CredentialSource {
  return {
    for: (registry, repository) => {
      if (registry !== localRegistry) return Promise.resolve({ kind: 'anonymous' })
      const { username, password } = temporary.issuePull(repository, Date.now() + LOOK_MS)
      return Promise.resolve({ kind: 'basic', username, password })
    },
  }
}
