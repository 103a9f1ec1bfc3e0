import { existsSync } from 'node:fs'
import { AppError, dataPaths, isAlive } from '../../common/index.ts'
import { endProcess, readStateFile } from '../../runtime-shim/host/index.ts'

const GRACE_MS = 20_000

/** `slipway down`: ends the platform on a data directory, its parent included. False when none runs. */
export async function down(dataDirectory: string): Promise<boolean> {
  if (!existsSync(dataDirectory)) return false
  const state = readStateFile(dataPaths(dataDirectory))
  if (state === undefined) return false
  const { parent, supervisor } = state
  if (parent !== null && isAlive(parent)) await endProcess(parent, GRACE_MS)
  if (isAlive(supervisor)) await endProcess(supervisor, GRACE_MS)
  if (isAlive(supervisor)) {
    throw new AppError(`supervisor ${supervisor.pid} does not end`, {
      code: 'still-running',
      hint: `look at the log in ${dataPaths(dataDirectory).log}`,
    })
  }
  return true
}
