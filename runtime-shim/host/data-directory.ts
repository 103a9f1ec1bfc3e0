import { randomBytes } from 'node:crypto'
import { chmodSync, chownSync, existsSync, mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { AppError, type DataPaths, dataPaths, errnoOf, messageOf, writeFileAtomic } from '../../common/index.ts'
import { REGISTRY_UID, SERVER_UID } from './confine.ts'

/** Name of the registry's own directory in that of its configuration. */
export const REGISTRY_DATA = 'data'

/** Makes the data directory with its owners and modes; what is there already is kept. Throws `data-directory` with the reason. */
export function makeDataDirectory(root: string): DataPaths {
  try {
    mkdirSync(root, { recursive: true, mode: 0o755 })
    const paths = dataPaths(root)
    for (const [path, mode, uid, gid] of [
      [paths.run, 0o711, 0, 0],
      [paths.instances, 0o700, 0, 0],
      [paths.content, 0o700, 0, 0],
      [paths.cache, 0o755, 0, 0],
      [paths.code, 0o755, 0, 0],
      [paths.log, 0o700, 0, 0],
      [paths.server, 0o700, SERVER_UID, SERVER_UID],
      // Only its data is the registry's own: root reads and writes its configuration, and must find no link there.
      [paths.registry, 0o750, 0, REGISTRY_UID],
      [join(paths.registry, REGISTRY_DATA), 0o700, REGISTRY_UID, REGISTRY_UID],
    ] as const) {
      mkdirSync(path, { recursive: true })
      chmodSync(path, mode)
      if (process.getuid?.() === 0) chownSync(path, uid, gid)
    }
    if (!existsSync(paths.adminToken)) writeFileAtomic(paths.adminToken, randomBytes(32).toString('base64url'), 0o600)
    return paths
  } catch (thrown) {
    throw new AppError(`data directory ${root} cannot be used: ${reason(thrown)}`, {
      code: 'data-directory',
      fault: 'user',
      hint: 'name another one with SLIPWAY_DATA=DIRECTORY',
      cause: thrown,
    })
  }
}

const REASONS: Record<string, string> = {
  EROFS: 'it lies on a read-only file system',
  EACCES: 'this user may not write there',
  EPERM: 'this user may not write there',
  ENOSPC: 'the disk is full',
  ENOTDIR: 'a part of the path is a file',
}

function reason(thrown: unknown): string {
  return REASONS[errnoOf(thrown) ?? ''] ?? messageOf(thrown)
}
