import { mkdirSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { type Logger, messageOf, writeRunFile } from '../../common/index.ts'
import type { InstanceSpec } from '../engines/engine.ts'
import type { InstanceOwner } from './port.ts'

/** What an instance directory says of its instance; written before the first side effect and at each change of state. */
export interface InstanceFile {
  bootId: string
  owner: InstanceOwner
  spec: InstanceSpec
  graceMs: number
  /** Of the creation, so that the next supervisor makes no second one when it is asked again. */
  key?: string
  createdAtMs: number
  startedAtMs: number | null
  /** `creating`: the process that made it had not finished. */
  state: 'creating' | 'created' | 'started'
}

const FILE = 'instance.json'

export function writeInstanceFile(file: InstanceFile): void {
  mkdirSync(file.spec.directory, { recursive: true, mode: 0o700 })
  writeRunFile(join(file.spec.directory, FILE), JSON.stringify(file))
}

/** All instance directories with what they say; `file` is undefined where a crash came before it was written. */
export function readInstanceFiles(
  directory: string,
  logger: Logger,
): { id: string; directory: string; file: InstanceFile | undefined }[] {
  return readdirSync(directory).map((id) => {
    const own = join(directory, id)
    try {
      return { id, directory: own, file: JSON.parse(readFileSync(join(own, FILE), 'utf8')) as InstanceFile }
    } catch (thrown) {
      logger.warn({ instance: id, err: messageOf(thrown) }, 'instance directory without a readable instance.json')
      return { id, directory: own, file: undefined }
    }
  })
}
