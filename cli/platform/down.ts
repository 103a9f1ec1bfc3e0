import { existsSync } from 'node:fs'
import { AppError, type DataPaths, dataPaths, isAlive } from '../../common/index.ts'
import { endProcess, Parent, readParentFile, readStateFile, type StateFile } from '../../runtime-shim/host/index.ts'
import { CODE_DIRECTORY } from './code-directory.ts'

const GRACE_MS = 20_000

/** `slipway down`: ends the platform on a data directory, its parent included, or what a killed one left. False when there is nothing. */
export async function down(dataDirectory: string): Promise<boolean> {
  if (!existsSync(dataDirectory)) return false
  const paths = dataPaths(dataDirectory)
  const parent = readParentFile(paths)
  if (parent !== undefined) await endProcess(parent, GRACE_MS)
  const state = readStateFile(paths)
  if (state === undefined) return parent !== undefined
  const { supervisor } = state
  if (isAlive(supervisor)) await endProcess(supervisor, GRACE_MS)
  else await endRemains(state, paths)
  if (isAlive(supervisor)) {
    throw new AppError(`supervisor ${supervisor.pid} does not end`, {
      code: 'still-running',
      hint: `look at the log in ${paths.log}`,
    })
  }
  return true
}

/** Supervisor and parent were killed: what is left is known to a new supervisor only, so one is started to end it. */
async function endRemains({ address, port, registryPort, engine }: StateFile, paths: DataPaths): Promise<void> {
  const parent = new Parent(
    {
      dataDirectory: paths.root,
      codeDirectory: CODE_DIRECTORY,
      parentPid: process.pid,
      ...{ address, port, registryPort, engine },
      identity: { region: '', appId: '', uin: '' },
      ociRuntime: 'auto',
      waitingSandboxes: 0,
    },
    paths,
  )
  await parent.start()
  await parent.close(GRACE_MS)
}
