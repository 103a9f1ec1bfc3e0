import { readFileSync } from 'node:fs'
import {
  bootId,
  type DataPaths,
  errnoOf,
  identify,
  isAlive,
  type ProcessIdentity,
  writeRunFile,
} from '../../common/index.ts'

interface ParentFile {
  bootId: string
  parent: ProcessIdentity
}

/** `run/parent.json`: this process watches over the supervisor from now on. A supervisor that an earlier parent left is told nothing. */
export function writeParentFile(paths: DataPaths): void {
  const file = { bootId: bootId(), parent: identify(process.pid) }
  writeRunFile(paths.parentFile, JSON.stringify(file), 0o644)
}

/** The living parent, if there is one. */
export function readParentFile(paths: DataPaths): ProcessIdentity | undefined {
  try {
    const file = JSON.parse(readFileSync(paths.parentFile, 'utf8')) as ParentFile
    return file.bootId === bootId() && isAlive(file.parent) ? file.parent : undefined
  } catch (thrown) {
    if (errnoOf(thrown) === 'ENOENT' || thrown instanceof SyntaxError) return undefined
    throw thrown
  }
}
