import { readFileSync, rmSync } from 'node:fs'
import { bootId, type DataPaths, errnoOf, type ProcessIdentity, writeRunFile } from '../../common/index.ts'

/** `run/supervisor.json`: which processes belong to the platform and where it answers. Read by the CLI, the parent and the next supervisor. */
export interface StateFile {
  bootId: string
  supervisor: ProcessIdentity
  parent: ProcessIdentity | null
  address: string
  port: number
  registryPort: number
  engine: 'runc' | 'docker'
  server: (ProcessIdentity & { generation: number }) | null
  registry: ProcessIdentity | null
  /** True once the first server answers calls. */
  ready: boolean
}

export function writeStateFile(paths: DataPaths, state: StateFile): void {
  writeRunFile(paths.supervisorFile, JSON.stringify(state), 0o644)
}

/** The platform has ended: what the next supervisor finds would not be true of anything. */
export function removeStateFile(paths: DataPaths): void {
  rmSync(paths.supervisorFile, { force: true })
}

/** The last supervisor's state, or undefined when there is none of this boot. */
export function readStateFile(paths: DataPaths): StateFile | undefined {
  try {
    const state = JSON.parse(readFileSync(paths.supervisorFile, 'utf8')) as StateFile
    return state.bootId === bootId() ? state : undefined
  } catch (thrown) {
    if (errnoOf(thrown) === 'ENOENT' || thrown instanceof SyntaxError) return undefined
    throw thrown
  }
}
