import { openSync } from 'node:fs'
import { tryLockFile } from './syscalls/index.ts'

/**
 * A lock that lives exactly as long as this process: the open file stays, and the kernel gives it back when the process ends in whatever
 * way. False when another one holds it. The file lies where only the platform's owner may open it, so that nobody else can take it
 * (a name in the abstract socket namespace could be taken by any user of the machine).
 */
export function takeRunLock(path: string): boolean {
  return tryLockFile(openSync(path, 'a', 0o600))
}
