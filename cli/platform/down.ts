import { existsSync } from 'node:fs'
import { AppError, type DataPaths, dataPaths, isAlive } from '../../common/index.ts'
import {
  endProcess,
  type HostConfig,
  instancesIn,
  Parent,
  readParentFile,
  readStateFile,
  type StateFile,
} from '../../runtime-shim/host/index.ts'
import { CODE_DIRECTORY } from './code-directory.ts'

const GRACE_MS = 20_000

/** `slipway down`: ends the platform on a data directory, its parent included, or what a killed one left. False when there is nothing. */
export async function down(dataDirectory: string): Promise<boolean> {
  if (!existsSync(dataDirectory)) return false
  const paths = dataPaths(dataDirectory)
  const parent = readParentFile(paths)
  // The parent ends the platform first.
  if (parent !== undefined) await endProcess(parent, GRACE_MS, () => instancesIn(paths))
  const state = readStateFile(paths)
  if (state === undefined) return parent !== undefined
  await new Parent(configOf(state, paths), paths).close(GRACE_MS)
  const { supervisor } = state
  if (isAlive(supervisor)) {
    throw new AppError(`supervisor ${supervisor.pid} does not end`, {
      code: 'still-running',
      hint: `look at the log in ${paths.log}`,
    })
  }
  return true
}

/** As what is left was started; nothing new is begun with it. */
function configOf({ address, port, registryPort, engine }: StateFile, paths: DataPaths): HostConfig {
  return {
    dataDirectory: paths.root,
    codeDirectory: CODE_DIRECTORY,
    parentPid: process.pid,
    ...{ address, port, registryPort, engine },
    identity: { region: '', appId: '', uin: '' },
    ociRuntime: 'auto',
    waitingSandboxes: 0,
  }
}
