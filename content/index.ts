export type { ContentStore, Lease, LocalImage, PullRequest, PullResult } from './content-store.ts'
export { type ContentStoreOptions, type OwnedContentStore, openContentStore } from './store.ts'
export type { UnpackLimits } from './unpack-budget.ts'
