import { closeSync, constants, openSync, unlinkSync } from 'node:fs'
import { join } from 'node:path'
import type { DataPaths } from '../../common/index.ts'
import { RegistryTask } from './registry-task.ts'

/** Links of manifests, tags and layers, and the blobs: a line for each with its path below the data directory, bytes, and seconds since 1970. */
const FIND = [
  '-ignore_readdir_race',
  '-type',
  'f',
  '(',
  '-path',
  '*/_manifests/revisions/*/link',
  '-o',
  '-path',
  '*/_manifests/tags/*/current/link',
  '-o',
  '-path',
  '*/_layers/*/link',
  '-o',
  '-path',
  '*/blobs/*/data',
  ')',
  '-printf',
  '%P %s %T@\\n',
]

/**
 * Lists what the registry holds, untagged manifests too, which its API does not tell. `find` runs as the registry's user; the supervisor does
 * not read what it says. Answers a descriptor for reading, from the start.
 */
export async function listRegistryFiles(paths: DataPaths, dataDirectory: string): Promise<number> {
  const path = join(paths.run, `registry-files-${process.pid}-${performance.now()}`)
  const written = openSync(path, 'wx', 0o600)
  let read = -1
  try {
    read = openSync(path, constants.O_RDONLY)
    unlinkSync(path)
    await new RegistryTask(paths, ['find', dataDirectory, ...FIND], written).done
    return read
  } catch (thrown) {
    if (read >= 0) closeSync(read)
    throw thrown
  } finally {
    closeSync(written)
  }
}
