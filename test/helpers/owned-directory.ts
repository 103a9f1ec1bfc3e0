import { existsSync, mkdtempSync, readdirSync, readFileSync, realpathSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { identify, isAlive, type ProcessIdentity } from '../../common/index.ts'

const OWNER = 'owner.json'

/** A temporary directory that names the process that made it, so that a later run finds it when this one was killed. */
export function ownedDirectory(prefix: string): string {
  const directory = realpathSync(mkdtempSync(join(tmpdir(), prefix)))
  writeFileSync(join(directory, OWNER), JSON.stringify(identify(process.pid)))
  return directory
}

/** Directories of this prefix whose makers are gone. */
export function abandonedDirectories(prefix: string): string[] {
  return readdirSync(tmpdir())
    .filter((name) => name.startsWith(prefix))
    .map((name) => join(tmpdir(), name))
    .filter((directory) => existsSync(join(directory, OWNER)))
    .filter((directory) => !isAlive(JSON.parse(readFileSync(join(directory, OWNER), 'utf8')) as ProcessIdentity))
}
