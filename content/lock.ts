import { closeSync, constants, openSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { AppError, tryLockFile } from '../common/index.ts'
import type { ContentLayout } from './layout.ts'

const PATIENCE_MS = 10_000
const MAX_PAUSE_MS = 20

/**
 * Runs `work` while no other process does the same: leases, pulls and collection agree by it on what may be removed. `work` is synchronous and
 * takes milliseconds. The kernel frees the lock of a process that died; one that was stopped while it held it makes others fail with `content-busy` after 10 s.
 */
export async function withLock<T>(layout: ContentLayout, work: () => T): Promise<T> {
  const fd = openSync(layout.lock, constants.O_RDWR | constants.O_CREAT | constants.O_NOFOLLOW, 0o600)
  try {
    const givenUpAt = performance.now() + PATIENCE_MS
    for (let pauseMs = 1; !tryLockFile(fd); pauseMs = Math.min(MAX_PAUSE_MS, pauseMs * 2)) {
      if (performance.now() > givenUpAt) throw busy(layout)
      await sleep(pauseMs)
    }
    return work()
  } finally {
    closeSync(fd)
  }
}

function busy(layout: ContentLayout): AppError {
  return new AppError(`another process has held ${layout.lock} for ${PATIENCE_MS / 1000} s`, {
    code: 'content-busy',
    retryable: true,
    hint: 'look for a stopped process that uses this data directory',
  })
}
