import { RegistryUsers, type UserRecord } from '../registry-auth/index.ts'
import type { DocumentStore } from './store/store.ts'

const COLLECTION = 'registry-users'

/** The local registry's users, kept as documents of the store: read from memory, durable before they are acknowledged. */
export function storedRegistryUsers(documents: DocumentStore): RegistryUsers {
  return new RegistryUsers({
    get: (username) => documents.get(COLLECTION, username) as UserRecord | undefined,
    list: () => documents.list(COLLECTION).map(({ document }) => document as UserRecord),
    put: (user) => documents.put(COLLECTION, user.username, user),
    delete: (username) => documents.delete(COLLECTION, username),
  })
}
